// What a tokenizer's codes stand for in a set of images, and the pixels to show it.
// Shape letters: B images of a batch, N patches, H and W pixels, C = 3 channels.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

#include "base/config.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "train/models.h"
#include "viz/atlas.h"

namespace beit {

/// Hands over the codes of the evaluation views of all images, batch by batch in the data's order, indices and codes on
/// the CPU. The network lies on `device`. Images that are damaged are named in the log and left out. Returns how many
/// there were; Error where none is left.
int64_t each_batch_of_codes(const LoadedTokenizer& tokenizer, const Dataset& images, const DataOptions& data,
                            int64_t batch_size, const torch::Device& device, bool quiet,
                            const std::function<void(const Batch& batch, const NearestCodes& found)>& use);

/// The atlas of all of these, with `examples` patches of each code.
CodeAtlas make_atlas(const LoadedTokenizer& tokenizer, const Dataset& images, const DataOptions& data, int64_t examples,
                     int64_t batch_size, const torch::Device& device, bool quiet);

/// The codes of one image, int64 [N] on the CPU, from the pixels of its evaluation view.
torch::Tensor codes_of_view(const LoadedTokenizer& tokenizer, const torch::Tensor& view_HWC,
                            const torch::Device& device);

/// The evaluation view of an image at the model's size (resolved), as pixels: uint8 [H, W, C]. Thread-safe. Error that
/// names the image where it cannot be read.
torch::Tensor evaluation_image(const Dataset& images, int64_t index, const ModelOptions& model, bool apply_orientation);

/// A patch's pixels in the evaluation view with `context` patches on each side, as viz/surroundings.h takes them, 0:
/// the patch alone; uint8 [H, W, C]. Thread-safe. Errors as of evaluation_image().
torch::Tensor patch_with_surroundings(const Dataset& images, const PatchPlace& place, const ModelOptions& model,
                                      int64_t context, bool apply_orientation);

/// The same drawn at `side` pixels, the patch outlined: uint8 [side, side, C].
torch::Tensor outlined_example(const Dataset& images, const PatchPlace& place, const ModelOptions& model,
                               int64_t context, int64_t side, bool apply_orientation);

}  // namespace beit
