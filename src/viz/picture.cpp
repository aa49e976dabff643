#include "viz/picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "base/error.h"

namespace beit {
namespace {

namespace F = torch::nn::functional;

constexpr int64_t kGap = 4, kOutline = 2, kDot = 3;  // pixels
constexpr std::array<uint8_t, 3> kMark{255, 214, 0}, kMarkEdge{30, 30, 30};

// Rows of three dots from the top, the leftmost dot in the highest bit.
constexpr std::array<std::array<uint8_t, 5>, 10> kDigits{{{7, 5, 5, 5, 7},
                                                          {2, 6, 2, 2, 7},
                                                          {7, 1, 7, 4, 7},
                                                          {7, 1, 7, 1, 7},
                                                          {5, 5, 7, 1, 1},
                                                          {7, 4, 7, 1, 7},
                                                          {7, 4, 7, 5, 7},
                                                          {7, 1, 1, 1, 1},
                                                          {7, 5, 7, 5, 7},
                                                          {7, 5, 7, 1, 7}}};

// The part of [top, top + height) x [left, left + width) inside of the picture in one colour.
void fill(torch::Tensor& pixels_HW3, int64_t top, int64_t left, int64_t height, int64_t width,
          const std::array<uint8_t, 3>& colour) {
  const auto inside = [](int64_t place, int64_t length) { return std::clamp<int64_t>(place, 0, length); };
  const int64_t rows = pixels_HW3.size(0), columns = pixels_HW3.size(1);
  auto part_HW3 = pixels_HW3.slice(0, inside(top, rows), inside(top + height, rows))
                      .slice(1, inside(left, columns), inside(left + width, columns));
  for (size_t channel = 0; channel < 3; ++channel)
    part_HW3.select(2, static_cast<int64_t>(channel)).fill_(colour[channel]);
}

void outline(torch::Tensor& pixels_HW3, int64_t top, int64_t left, int64_t height, int64_t width, int64_t thickness,
             const std::array<uint8_t, 3>& colour) {
  fill(pixels_HW3, top, left, thickness, width, colour);
  fill(pixels_HW3, top + height - thickness, left, thickness, width, colour);
  fill(pixels_HW3, top, left, height, thickness, colour);
  fill(pixels_HW3, top, left + width - thickness, height, thickness, colour);
}

// In which images a code stands, of all and of each class.
struct Presence {
  std::vector<int64_t> images_K;
  std::vector<int64_t> images_KC;
  std::vector<int64_t> images_C;
};

Presence count_presence(const torch::Tensor& codes_IN, const torch::Tensor& labels_I, int64_t codes, int64_t classes) {
  const auto ids = codes_IN.accessor<int64_t, 2>();
  const auto labels = labels_I.accessor<int64_t, 1>();
  Presence presence{std::vector<int64_t>(static_cast<size_t>(codes)),
                    std::vector<int64_t>(static_cast<size_t>(codes * classes)),
                    std::vector<int64_t>(static_cast<size_t>(classes))};
  std::vector<int64_t> last_image(static_cast<size_t>(codes), -1);
  for (int64_t image = 0; image < codes_IN.size(0); ++image) {
    if (labels[image] >= 0) ++presence.images_C[static_cast<size_t>(labels[image])];
    for (int64_t patch = 0; patch < codes_IN.size(1); ++patch) {
      const auto code = static_cast<size_t>(ids[image][patch]);
      if (last_image[code] == image) continue;
      last_image[code] = image;
      ++presence.images_K[code];
      if (labels[image] >= 0)
        ++presence.images_KC[code * static_cast<size_t>(classes) + static_cast<size_t>(labels[image])];
    }
  }
  return presence;
}

// The candidates, best first: all by the number of images, or class by class in turn.
std::vector<int64_t> most_telling(const Presence& presence, std::vector<int64_t> candidates, int64_t images,
                                  int64_t rows) {
  const auto images_of = [&](int64_t code) { return presence.images_K[static_cast<size_t>(code)]; };
  std::ranges::stable_sort(candidates, std::greater{}, images_of);
  const size_t classes = presence.images_C.size();
  std::vector<int64_t> chosen;
  while (classes > 0 && std::ssize(chosen) < rows && !candidates.empty()) {
    std::vector<std::pair<double, int64_t>> round;  // score and code: the best one of each class
    for (size_t label = 0; label < classes; ++label) {
      const auto score = [&](int64_t code) {
        const auto found = static_cast<double>(presence.images_KC[static_cast<size_t>(code) * classes + label]);
        const double expected = static_cast<double>(images_of(code)) * static_cast<double>(presence.images_C[label]) /
                                static_cast<double>(images);
        return found > 0 ? found * std::log(found / expected) : 0.0;
      };
      if (candidates.empty()) break;
      const auto best = std::ranges::max_element(candidates, {}, score);
      round.emplace_back(score(*best), *best);
      candidates.erase(best);
    }
    std::ranges::stable_sort(round, std::greater{}, &std::pair<double, int64_t>::first);
    for (const auto& [score, code] : round) chosen.push_back(code);
  }
  if (classes == 0) chosen = candidates;
  chosen.resize(std::min(chosen.size(), static_cast<size_t>(rows)));
  return chosen;
}

}  // namespace

std::vector<CodeExamples> telling_codes(const torch::Tensor& codes_IN, const torch::Tensor& labels_I, int64_t codes,
                                        const ExampleOptions& options) {
  require(codes_IN.dim() == 2 && codes_IN.numel() > 0 && labels_I.dim() == 1 && labels_I.size(0) == codes_IN.size(0),
          "picture: expected codes [images, patches] and a label for each image, got {} and {}",
          fmt::join(codes_IN.sizes(), " x "), fmt::join(labels_I.sizes(), " x "));
  require(options.rows > 0 && options.columns > 0,
          "picture: expected at least one row and column, got {} and {}; check --rows and --columns", options.rows,
          options.columns);
  const auto ids_IN = codes_IN.to(torch::kCPU, torch::kInt64).contiguous();
  const auto known_I = labels_I.to(torch::kCPU, torch::kInt64).contiguous();
  require(ids_IN.min().item<int64_t>() >= 0 && ids_IN.max().item<int64_t>() < codes,
          "picture: expected codes in [0, {}), got {} to {}", codes, ids_IN.min().item<int64_t>(),
          ids_IN.max().item<int64_t>());
  const int64_t classes = std::max<int64_t>(0, known_I.max().item<int64_t>() + 1);
  const auto presence = count_presence(ids_IN, known_I, codes, classes);

  std::vector<int64_t> candidates;
  for (const int64_t enough : {options.columns, int64_t{1}}) {
    if (std::ssize(candidates) >= options.rows) break;
    candidates.clear();
    for (int64_t code = 0; code < codes; ++code) {
      if (presence.images_K[static_cast<size_t>(code)] >= enough) candidates.push_back(code);
    }
  }
  std::vector<CodeExamples> rows;
  std::vector<int64_t> row_of_K(static_cast<size_t>(codes), -1);
  for (const int64_t code : most_telling(presence, candidates, ids_IN.size(0), options.rows)) {
    row_of_K[static_cast<size_t>(code)] = std::ssize(rows);
    rows.push_back({code, presence.images_K[static_cast<size_t>(code)], {}});
  }

  // Every `images / columns`-th image that holds a code is an example of it.
  const auto ids = ids_IN.accessor<int64_t, 2>();
  std::vector<int64_t> seen(rows.size());
  for (int64_t image = 0; image < ids_IN.size(0); ++image) {
    std::map<int64_t, std::vector<int64_t>> patches_of_row;
    for (int64_t patch = 0; patch < ids_IN.size(1); ++patch) {
      const int64_t row = row_of_K[static_cast<size_t>(ids[image][patch])];
      if (row >= 0) patches_of_row[row].push_back(patch);
    }
    for (const auto& [number, patches] : patches_of_row) {
      CodeExamples& row = rows[static_cast<size_t>(number)];
      const int64_t wanted = std::min(options.columns, row.images);
      const int64_t place = seen[static_cast<size_t>(number)]++;
      if (place * wanted / row.images == std::ssize(row.examples))
        row.examples.push_back({image, patches[patches.size() / 2]});
    }
  }
  return rows;
}

torch::Tensor code_mosaic(const std::vector<CodeExamples>& rows, const Grid& grid,
                          const std::function<torch::Tensor(int64_t image)>& pixels_of, const MosaicOptions& options) {
  require(!rows.empty(), "picture: expected at least one code to show, got none");
  int64_t largest = 0;
  size_t columns = 0;
  for (const CodeExamples& row : rows) {
    largest = std::max(largest, row.code);
    columns = std::max(columns, row.examples.size());
  }
  const int64_t pitch = options.cell + kGap, digits = std::ssize(std::to_string(largest));
  const int64_t margin = kGap * 3 + digits * 4 * kDot;
  auto canvas_HW3 = torch::full({std::ssize(rows) * pitch + kGap, margin + static_cast<int64_t>(columns) * pitch, 3},
                                255, torch::kUInt8);

  const Grid shown{std::min(grid.rows, 2 * options.context + 1), std::min(grid.columns, 2 * options.context + 1)};
  for (size_t r = 0; r < rows.size(); ++r) {
    const int64_t top = kGap + static_cast<int64_t>(r) * pitch;
    const int64_t right_aligned = digits - std::ssize(std::to_string(rows[r].code));
    draw_number(canvas_HW3, rows[r].code, top + (options.cell - 5 * kDot) / 2, kGap * 2 + right_aligned * 4 * kDot,
                kDot);
    for (size_t c = 0; c < rows[r].examples.size(); ++c) {
      const PatchPlace& place = rows[r].examples[c];
      const auto pixels_HW3 = pixels_of(place.image);
      require(pixels_HW3.dim() == 3 && pixels_HW3.size(2) == 3 && pixels_HW3.size(0) % grid.rows == 0 &&
                  pixels_HW3.size(1) % grid.columns == 0,
              "picture: expected images [H, W, 3] that {} x {} patches divide, got {}", grid.rows, grid.columns,
              fmt::join(pixels_HW3.sizes(), " x "));
      const int64_t height = pixels_HW3.size(0) / grid.rows, width = pixels_HW3.size(1) / grid.columns;
      const int64_t row = place.patch / grid.columns, column = place.patch % grid.columns;
      // At the image's edge the surroundings are those on the other side.
      const int64_t first_row = std::clamp<int64_t>(row - options.context, 0, grid.rows - shown.rows);
      const int64_t first_column = std::clamp<int64_t>(column - options.context, 0, grid.columns - shown.columns);
      const auto part_HW3 = pixels_HW3.slice(0, first_row * height, (first_row + shown.rows) * height)
                                .slice(1, first_column * width, (first_column + shown.columns) * width);
      const auto large_13HW = F::interpolate(part_HW3.permute({2, 0, 1}).unsqueeze(0).to(torch::kFloat32),
                                             F::InterpolateFuncOptions()
                                                 .size(std::vector<int64_t>{options.cell, options.cell})
                                                 .mode(torch::kBicubic)
                                                 .align_corners(false)
                                                 .antialias(true));
      auto cell_HW3 = canvas_HW3.slice(0, top, top + options.cell)
                          .slice(1, margin + static_cast<int64_t>(c) * pitch,
                                 margin + static_cast<int64_t>(c) * pitch + options.cell);
      cell_HW3.copy_(large_13HW[0].permute({1, 2, 0}).round().clamp(0, 255));

      const int64_t mark_top = (row - first_row) * options.cell / shown.rows;
      const int64_t mark_left = (column - first_column) * options.cell / shown.columns;
      const int64_t mark_height = options.cell / shown.rows, mark_width = options.cell / shown.columns;
      outline(cell_HW3, mark_top - 1, mark_left - 1, mark_height + 2, mark_width + 2, 1, kMarkEdge);
      outline(cell_HW3, mark_top, mark_left, mark_height, mark_width, kOutline, kMark);
    }
  }
  return canvas_HW3;
}

void draw_number(torch::Tensor& pixels_HW3, int64_t number, int64_t top, int64_t left, int64_t dot,
                 const std::array<uint8_t, 3>& ink) {
  for (const char character : std::to_string(number)) {
    if (character != '-') {
      const auto& digit = kDigits[static_cast<size_t>(character - '0')];
      for (int64_t row = 0; row < 5; ++row) {
        for (int64_t column = 0; column < 3; ++column) {
          if ((digit[static_cast<size_t>(row)] >> (2 - column)) & 1)
            fill(pixels_HW3, top + row * dot, left + column * dot, dot, dot, ink);
        }
      }
    }
    left += 4 * dot;
  }
}

}  // namespace beit
