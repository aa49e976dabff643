// What a segmenter says of an image of any size: windows over it, its mirror image and its sizes, put together as in
// mmsegmentation 0.11 (slide_inference, aug_test).
// Shape letters: K classes, H and W height and width of the result, h and w of a view.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "base/config.h"
#include "core/segmenter.h"

namespace beit {

/// Where windows begin on a side: every `stride` pixels, the last moved back inside.
std::vector<int64_t> window_starts(int64_t side, int64_t window, int64_t stride);

/// Logits [1, K, h, w] of one view [1, C, h, w]: the mean over the windows that see a pixel. A window has the size of
/// the network's own images, or the view's where that is smaller; with a stride of 0 the view is one window.
/// Error for a stride that leaves pixels out. In eval(), without gradients.
torch::Tensor window_logits(Segmenter& segmenter, const torch::Tensor& view_1Chw, int64_t stride);

/// Probabilities [1, K, H, W] of one image from its views, the same picture in one or several sizes (at test those of
/// options.long_side, short_side and scales, which the caller makes): each view's logits are resized to H x W and
/// become probabilities, of which the mean is taken; with options.flip also over the views' mirror images.
torch::Tensor window_scores(Segmenter& segmenter, const std::vector<torch::Tensor>& views_1Chw, int64_t height,
                            int64_t width, const WindowOptions& options);

}  // namespace beit
