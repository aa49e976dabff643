// A small classifier with random weights in a file, images in class folders, and what it says of them.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/classifier.h"
#include "data/image.h"
#include "data/resize.h"
#include "tests/cli/started.h"
#include "tests/data/samples.h"
#include "train/network_file.h"

namespace beit {

/// Of images of 32 pixels. Its scores differ from image to image; `names` are what the file tells of its classes.
inline Classifier write_small_classifier(const std::filesystem::path& path, int64_t classes,
                                         const std::vector<std::string>& names = {}) {
  torch::manual_seed(9);
  const ViTOptions vit{.grid = {4, 4},
                       .patch_size = 8,
                       .width = 16,
                       .depth = 1,
                       .heads = 2,
                       .absolute_position = false,
                       .relative_position = RelPos::kBlock};
  Classifier classifier(ClassifierOptions{.vit = vit, .classes = classes, .head_scale = 100});
  const torch::NoGradGuard no_grad;
  classifier->named_parameters()["patch_embed.proj.weight"].mul_(10);
  std::map<std::string, std::string> metadata;
  if (!names.empty()) metadata.insert(class_metadata(names));
  write_safetensors(path, state_dict(*classifier), metadata);
  classifier->eval();
  return classifier;
}

/// Images of one colour each with some noise, 40 x 36 pixels, in folders of these names.
inline void write_class_folders(const std::filesystem::path& root, const std::vector<std::string>& classes,
                                int64_t images) {
  torch::manual_seed(4);
  for (const std::string& name : classes) {
    for (int64_t i = 0; i < images; ++i) {
      const auto pixels_HWC = torch::randint(0, 200, {1, 1, 3}) + torch::randint(0, 56, {40, 36, 3});
      write_png(root / name / fmt::format("{}.png", i), pixels_HWC.to(torch::kUInt8));
    }
  }
}

/// Logits [1, classes] of an image as the published evaluation shows it, or of its mirror image.
inline torch::Tensor logits_of(Classifier& classifier, const std::filesystem::path& path, bool mirrored = false) {
  const torch::NoGradGuard no_grad;
  const std::string bytes = text_of(path);
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  const auto pixels_HWC = evaluation_pixels(decode_image({data, bytes.size()}, path.string()), {32, 32});
  return classifier->forward(to_float(pixels_HWC, kImagenetScale, mirrored).unsqueeze(0));
}

}  // namespace beit
