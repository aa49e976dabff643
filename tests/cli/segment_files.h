// A made-up set to segment: on dark ground a red and a green rectangle, between noise; the first row is of no class.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <string>
#include <vector>

#include "data/png.h"
#include "tests/data/samples.h"
#include "viz/label_picture.h"

namespace beit {

inline constexpr uint8_t kVoid = 7;

/// `images` of them as FOLDER/images/TOWN/N.png and FOLDER/labels/TOWN/N.png, for --classes 3 --ignore-label 7.
inline void write_rectangles(const std::filesystem::path& folder, int64_t images, uint64_t seed = 0) {
  for (int64_t i = 0; i < images; ++i) {
    Random random(seed, 0, static_cast<uint64_t>(i), Purpose::kWeights);
    const int64_t height = 40 + random.integer(0, 12), width = 44 + random.integer(0, 12);
    auto pixels_HWC = torch::empty({height, width, 3}, torch::kUInt8);
    auto* pixels = pixels_HWC.mutable_data_ptr<uint8_t>();
    for (int64_t k = 0; k < pixels_HWC.numel(); ++k) pixels[k] = static_cast<uint8_t>(random.integer(0, 60));
    auto labels_HW = torch::zeros({height, width}, torch::kUInt8);
    for (int64_t label = 1; label <= 2; ++label) {
      const int64_t top = random.integer(0, 20), left = random.integer(0, 20);
      labels_HW.narrow(0, top, 20).narrow(1, left, 24).fill_(label);
      auto box_HWC = pixels_HWC.narrow(0, top, 20).narrow(1, left, 24);
      box_HWC.remainder_(60);
      box_HWC.select(2, label - 1).add_(180);
    }
    labels_HW[0].fill_(kVoid);
    const auto name = std::filesystem::path(i % 2 == 0 ? "town" : "land") / (std::to_string(i) + ".png");
    write_png(folder / "images" / name, pixels_HWC);
    write_bytes(folder / "labels" / name, encode_png_indices(labels_HW, label_palette()));
  }
}

/// The words that train on it and measure it; with label maps from elsewhere where that is said.
inline std::vector<std::string> segment_words(const std::filesystem::path& folder, std::string labels = {},
                                              std::string val_labels = {}) {
  const std::string images = (folder / "images").string();
  if (labels.empty()) labels = (folder / "labels").string();
  if (val_labels.empty()) val_labels = (folder / "labels").string();
  std::vector<std::string> words{"segment",    "--data", images,         "--labels", labels,
                                 "--val-data", images,   "--val-labels", val_labels};
  for (const char* word : {"--classes",
                           "3",
                           "--ignore-label",
                           "7",
                           "--width",
                           "16",
                           "--depth",
                           "2",
                           "--heads",
                           "2",
                           "--image-size",
                           "32",
                           "--patch-size",
                           "8",
                           "--channels",
                           "8",
                           "--auxiliary-channels",
                           "4",
                           "--long-side",
                           "64",
                           "--short-side",
                           "40",
                           "--stride",
                           "16",
                           "--drop-path",
                           "0.1",
                           "--device",
                           "cpu",
                           "--threads",
                           "1"}) {
    words.emplace_back(word);
  }
  return words;
}

}  // namespace beit
