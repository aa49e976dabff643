// Label maps for the eye.
// Shape letters: B images, H and W pixels, C = 3 channels.
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>

namespace beit {

/// Of labels 0 to 255, all different: the palette of Pascal VOC, which other tools show too. Bit 3j + c of the label is
/// bit 7 - j of channel c: 0 black, 1 (128, 0, 0), 2 (0, 128, 0), 3 (128, 128, 0), 4 (0, 0, 128), ...
/// 255 (224, 224, 192).
using LabelPalette = std::array<std::array<uint8_t, 3>, 256>;
const LabelPalette& label_palette();

/// The palette's colours: uint8 [...] on any device to uint8 [..., C] on the CPU.
torch::Tensor label_colours(const torch::Tensor& labels);

/// The image, uint8 [H, W, C], half covered by its labels' colours, uint8 [H, W], with a white line where two classes
/// meet. On the CPU. Error for other shapes.
torch::Tensor label_overlay(const torch::Tensor& pixels_HWC, const torch::Tensor& labels_HW);

/// Of each image (float in [0, 1]): the image, its labels and what was predicted, each uint8 [B, H, W]. Any device.
/// Returns uint8 [H, W, C] on the CPU. Error for other shapes.
torch::Tensor label_picture(const torch::Tensor& images_BCHW, const torch::Tensor& labels_BHW,
                            const torch::Tensor& predicted_BHW);

}  // namespace beit
