#include "viz/picture.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "base/error.h"
#include "viz/drawing.h"
#include "viz/surroundings.h"

namespace beit {
namespace {

constexpr int64_t kGap = 4, kDot = 3;  // pixels

// In which images a code stands, of all and of each class.
struct Presence {
  std::vector<int64_t> images_K;
  std::vector<int64_t> images_KC;
  std::vector<int64_t> images_C;
};

Presence count_presence(const torch::Tensor& codes_IN, const torch::Tensor& labels_I, int64_t codes, int64_t classes) {
  const auto ids = codes_IN.accessor<int32_t, 2>();
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

torch::Tensor checked_codes(const torch::Tensor& codes_IN, int64_t codes) {
  require(codes_IN.dim() == 2 && codes_IN.numel() > 0, "picture: expected codes [images, patches], got {}",
          fmt::join(codes_IN.sizes(), " x "));
  const auto least = codes_IN.min().item<int64_t>(), most = codes_IN.max().item<int64_t>();
  require(least >= 0 && most < codes, "picture: expected codes in [0, {}), got {} to {}", codes, least, most);
  return codes_IN.to(torch::kCPU, torch::kInt32).contiguous();  // as they come: of many images they are large
}

}  // namespace

std::vector<CodeExamples> telling_codes(const torch::Tensor& codes_IN, const torch::Tensor& labels_I, int64_t codes,
                                        const ExampleOptions& options) {
  const auto ids_IN = checked_codes(codes_IN, codes);
  require(labels_I.dim() == 1 && labels_I.size(0) == codes_IN.size(0),
          "picture: expected a label for each of {} images, got {}", codes_IN.size(0),
          fmt::join(labels_I.sizes(), " x "));
  require(options.rows > 0 && options.columns > 0,
          "picture: expected at least one row and column, got {} and {}; check --rows and --columns", options.rows,
          options.columns);
  // Classes that occur, numbered without gaps: those of a list may be any numbers.
  const auto given_I = labels_I.to(torch::kCPU, torch::kInt64).contiguous();
  const auto classes_C = std::get<0>(at::_unique(given_I.masked_select(given_I.ge(0)), /*sorted=*/true));
  const auto class_I = torch::searchsorted(classes_C, given_I).masked_fill_(given_I.lt(0), -1);
  const auto presence = count_presence(ids_IN, class_I, codes, classes_C.size(0));

  std::vector<int64_t> candidates;
  for (const int64_t enough : {options.columns, int64_t{1}}) {
    if (std::ssize(candidates) >= options.rows) break;
    candidates.clear();
    for (int64_t code = 0; code < codes; ++code) {
      if (presence.images_K[static_cast<size_t>(code)] >= enough) candidates.push_back(code);
    }
  }
  return spread_examples(ids_IN, most_telling(presence, candidates, ids_IN.size(0), options.rows), codes,
                         options.columns);
}

std::vector<CodeExamples> spread_examples(const torch::Tensor& codes_IN, const std::vector<int64_t>& chosen,
                                          int64_t codes, int64_t columns) {
  const auto ids_IN = checked_codes(codes_IN, codes);
  const auto ids = ids_IN.accessor<int32_t, 2>();
  std::vector<CodeExamples> rows;
  std::vector<int64_t> row_of_K(static_cast<size_t>(codes), -1);
  for (const int64_t code : chosen) {
    require(code >= 0 && code < codes && row_of_K[static_cast<size_t>(code)] < 0,
            "picture: expected different codes in [0, {}), got {}", codes, fmt::join(chosen, ", "));
    row_of_K[static_cast<size_t>(code)] = std::ssize(rows);
    rows.push_back({code, 0, {}});
  }
  const auto patches_by_row = [&](int64_t image) {
    std::map<size_t, std::vector<int64_t>> patches_of_row;
    for (int64_t patch = 0; patch < ids_IN.size(1); ++patch) {
      const int64_t row = row_of_K[static_cast<size_t>(ids[image][patch])];
      if (row >= 0) patches_of_row[static_cast<size_t>(row)].push_back(patch);
    }
    return patches_of_row;
  };
  for (int64_t image = 0; image < ids_IN.size(0); ++image) {
    for (const auto& [row, patches] : patches_by_row(image)) ++rows[row].images;
  }

  // Every `images / columns`-th image that holds a code is an example of it.
  std::vector<int64_t> seen(rows.size());
  for (int64_t image = 0; image < ids_IN.size(0); ++image) {
    for (const auto& [number, patches] : patches_by_row(image)) {
      CodeExamples& row = rows[number];
      const int64_t wanted = std::min(columns, row.images);
      const int64_t place = seen[number]++;
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
  const auto canvas_HW3 = torch::full(
      {std::ssize(rows) * pitch + kGap, margin + static_cast<int64_t>(columns) * pitch, 3}, 255, torch::kUInt8);

  for (size_t r = 0; r < rows.size(); ++r) {
    const int64_t top = kGap + static_cast<int64_t>(r) * pitch;
    const int64_t right_aligned = digits - std::ssize(std::to_string(rows[r].code));
    draw_number(canvas_HW3, rows[r].code, top + (options.cell - text_height(kDot)) / 2,
                kGap * 2 + right_aligned * 4 * kDot, kDot);
    for (size_t c = 0; c < rows[r].examples.size(); ++c) {
      const PatchPlace& place = rows[r].examples[c];
      const Surroundings around = surroundings_of(place.patch, grid, options.context);
      const auto part_HW3 = cut_surroundings(pixels_of(place.image), grid, around);
      const int64_t left = margin + static_cast<int64_t>(c) * pitch;
      put_picture(canvas_HW3, outlined_patch(part_HW3, around, options.cell), top, left);
    }
  }
  return canvas_HW3;
}

}  // namespace beit
