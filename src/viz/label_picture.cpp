#include "viz/label_picture.h"

#include "base/error.h"
#include "viz/tiles.h"

namespace beit {
namespace {

LabelPalette voc_palette() {
  LabelPalette palette{};
  for (size_t label = 0; label < palette.size(); ++label) {
    for (size_t bit = 0; bit < 8; ++bit) palette[label][bit % 3] |= ((label >> bit) & 1U) << (7 - bit / 3);
  }
  return palette;
}

/// Where the right or the lower neighbour is of another class.
torch::Tensor edges(const torch::Tensor& labels_HW) {
  auto edges_HW = torch::zeros_like(labels_HW, torch::kBool);
  const int64_t height = labels_HW.size(0), width = labels_HW.size(1);
  edges_HW.narrow(1, 0, width - 1).logical_or_(labels_HW.narrow(1, 0, width - 1).ne(labels_HW.narrow(1, 1, width - 1)));
  edges_HW.narrow(0, 0, height - 1)
      .logical_or_(labels_HW.narrow(0, 0, height - 1).ne(labels_HW.narrow(0, 1, height - 1)));
  return edges_HW;
}

}  // namespace

const LabelPalette& label_palette() {
  static const LabelPalette palette = voc_palette();
  return palette;
}

torch::Tensor label_colours(const torch::Tensor& labels) {
  require(labels.scalar_type() == torch::kUInt8, "picture: expected labels as uint8, got {}",
          torch::toString(labels.scalar_type()));
  const auto palette_KC = torch::from_blob(const_cast<LabelPalette*>(&label_palette()), {256, 3}, torch::kUInt8);
  auto sizes = labels.sizes().vec();
  sizes.push_back(3);
  return palette_KC.index_select(0, labels.to(torch::kCPU, torch::kInt64).flatten()).view(sizes);
}

torch::Tensor label_overlay(const torch::Tensor& pixels_HWC, const torch::Tensor& labels_HW) {
  require(pixels_HWC.dim() == 3 && pixels_HWC.size(2) == 3 && pixels_HWC.scalar_type() == torch::kUInt8 &&
              labels_HW.sizes() == pixels_HWC.sizes().slice(0, 2),
          "picture: expected uint8 pixels [H, W, 3] and labels [H, W], got {} [{}] and [{}]",
          torch::toString(pixels_HWC.scalar_type()), fmt::join(pixels_HWC.sizes(), ", "),
          fmt::join(labels_HW.sizes(), ", "));
  const auto labels = labels_HW.to(torch::kCPU);
  const auto mixed_HWC =
      pixels_HWC.to(torch::kCPU, torch::kInt32).add_(label_colours(labels)).div_(2, "floor").to(torch::kUInt8);
  return mixed_HWC.masked_fill(edges(labels).unsqueeze(2), 255);
}

torch::Tensor label_picture(const torch::Tensor& images_BCHW, const torch::Tensor& labels_BHW,
                            const torch::Tensor& predicted_BHW) {
  const auto colours_BCHW = [](const torch::Tensor& map_BHW) {
    return label_colours(map_BHW).permute({0, 3, 1, 2}).to(torch::kFloat32).div(255);
  };
  require(labels_BHW.dim() == 3 && predicted_BHW.dim() == 3, "picture: expected labels [B, H, W], got [{}] and [{}]",
          fmt::join(labels_BHW.sizes(), ", "), fmt::join(predicted_BHW.sizes(), ", "));
  return side_by_side({images_BCHW, colours_BCHW(labels_BHW), colours_BCHW(predicted_BHW)});
}

}  // namespace beit
