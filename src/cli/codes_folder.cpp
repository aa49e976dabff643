#include "cli/codes_folder.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "cli/images.h"
#include "data/for_each.h"
#include "io/atomic_file.h"
#include "train/code_atlas.h"
#include "train/progress.h"
#include "viz/code_card.h"
#include "viz/surroundings.h"

namespace beit {
namespace {

constexpr size_t kCodesAtOnce = 256;  // an image that holds examples of several is decoded once for all of them
constexpr int64_t kContext = 2;       // patches
constexpr int64_t kCardSide = 80;     // pixels of an example
constexpr int64_t kMostLargeTiles = 1024;

int64_t tile_side(size_t codes) { return static_cast<int64_t>(codes) <= kMostLargeTiles ? 64 : 32; }

/// An example that an image holds.
struct Wanted {
  size_t code = 0;     ///< its place among the codes at hand
  size_t example = 0;  ///< its place among the code's
  int64_t patch = 0;
};

struct Drawn {
  std::vector<std::vector<torch::Tensor>> cards;  ///< of each code its examples
  std::vector<torch::Tensor> tiles;               ///< of each code the first of them
};

/// The examples of some codes. Images are decoded in threads; enlarging, which LibTorch divides by itself, is done
/// here.
Drawn draw_examples(const CodeAtlas& atlas, std::span<const int64_t> codes, int64_t tile, const Dataset& images,
                    const ModelOptions& model, const DataOptions& data) {
  std::map<int64_t, std::vector<Wanted>> by_image;
  Drawn drawn{.cards = std::vector<std::vector<torch::Tensor>>(codes.size()),
              .tiles = std::vector<torch::Tensor>(codes.size())};
  for (size_t code = 0; code < codes.size(); ++code) {
    const auto& examples = atlas.examples[static_cast<size_t>(codes[code])];
    drawn.cards[code].resize(examples.size());
    for (size_t i = 0; i < examples.size(); ++i)
      by_image[examples[i].place.image].push_back({code, i, examples[i].place.patch});
  }
  const std::vector<std::pair<int64_t, std::vector<Wanted>>> wanted(by_image.begin(), by_image.end());

  const Grid grid = grid_of(model);
  const auto wanted_of = [&](int64_t i) -> const auto& { return wanted[static_cast<size_t>(i)]; };
  const auto decode = [&](int64_t i) {
    const auto& [image, examples] = wanted_of(i);
    const auto view_HWC = evaluation_image(images, image, model, data.apply_orientation);
    std::vector<torch::Tensor> parts;
    for (const Wanted& one : examples) {
      const auto around = surroundings_of(one.patch, grid, kContext);
      parts.push_back(cut_surroundings(view_HWC, grid, around).clone());
    }
    return parts;
  };
  int64_t next = 0;
  for_each_ahead(std::ssize(wanted), data.workers, decode, [&](const std::vector<torch::Tensor>& parts) {
    const auto& examples = wanted_of(next++).second;
    for (size_t i = 0; i < examples.size(); ++i) {
      const Wanted& one = examples[i];
      const auto around = surroundings_of(one.patch, grid, kContext);
      drawn.cards[one.code][one.example] = outlined_patch(parts[i], around, kCardSide);
      if (one.example == 0) drawn.tiles[one.code] = outlined_patch(parts[i], around, tile);
    }
  });
  return drawn;
}

std::string csv(const CodeAtlas& atlas) {
  const auto uses = atlas.uses_K.accessor<int64_t, 1>();
  const auto images = atlas.images_K.accessor<int64_t, 1>();
  const auto similarity = atlas.similarity_K.accessor<double, 1>();
  const auto all = static_cast<double>(std::max<int64_t>(atlas.uses_K.sum().item<int64_t>(), 1));
  std::string text = "code,uses,share,images,similarity\n";
  for (int64_t code = 0; code < uses.size(0); ++code) {
    text += fmt::format("{},{},{:.6g},{},{}\n", code, uses[code], static_cast<double>(uses[code]) / all, images[code],
                        uses[code] > 0 ? fmt::format("{:.4f}", similarity[code]) : "");
  }
  return text;
}

std::string card_name(int64_t code) { return fmt::format("code-{:05d}.png", code); }

/// An earlier atlas may have been another tokenizer's; its pictures stay, as nobody asked to remove them.
void warn_of_others(const std::filesystem::path& folder, const std::vector<int64_t>& chosen) {
  const std::regex card("code-[0-9]{5,}\\.png");
  std::set<std::string> drawn, others;
  for (const int64_t code : chosen) drawn.insert(card_name(code));
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (std::regex_match(name, card) && !drawn.contains(name)) others.insert(name);
  }
  if (others.empty()) return;
  log().warn("{}: pictures of codes from before lie there still, {} in all, {} to {}; they are no part of this atlas",
             folder.string(), others.size(), *others.begin(), *others.rbegin());
}

}  // namespace

void write_code_folder(const OutputFolder& folder, const CodeAtlas& atlas, const std::vector<int64_t>& chosen,
                       const Dataset& images, const ModelOptions& model, const DataOptions& data, bool quiet) {
  const Grid grid = grid_of(model);
  const int64_t tile = tile_side(chosen.size());
  std::vector<torch::Tensor> tiles;
  Progress progress(0, std::ssize(chosen), 1, !quiet);
  for (size_t first = 0; first < chosen.size(); first += kCodesAtOnce) {
    const auto codes = std::span(chosen).subspan(first, std::min(kCodesAtOnce, chosen.size() - first));
    const Drawn drawn = draw_examples(atlas, codes, tile, images, model, data);
    for_each_parallel(std::ssize(codes), data.workers, [&](int64_t number) {  // packing takes the most time
      const auto i = static_cast<size_t>(number);
      write_file_atomically(folder.path() / card_name(codes[i]),
                            png_bytes(code_card(atlas, codes[i], grid, drawn.cards[i])));
    });
    tiles.insert(tiles.end(), drawn.tiles.begin(), drawn.tiles.end());
    progress.show(std::ssize(tiles), "codes");
  }
  write_file_atomically(folder.path() / "overview.png", png_bytes(code_overview(chosen, tiles, tile)));
  write_file_atomically(folder.path() / "atlas.csv", csv(atlas));
  warn_of_others(folder.path(), chosen);
}

}  // namespace beit
