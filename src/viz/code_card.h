// One code on a card: its nearest patches, where in the image it stands and how often; and many codes in an overview.
// Shape letters: H and W pixels.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "base/grid.h"
#include "viz/atlas.h"

namespace beit {

/// On the left the code's number, its uses and their share of all patches, how many images hold it, and a map of the
/// patch grid, the darker the more of its uses stand there; beside it `examples`, uint8 [side, side, 3] of one side, in
/// their order. Returns uint8 [H, W, 3]. Error for a code or a grid that the atlas has not.
torch::Tensor code_card(const CodeAtlas& atlas, int64_t code, const Grid& grid,
                        const std::vector<torch::Tensor>& examples);

/// A tile for each code, row by row in about a square: its example, uint8 [side, side, 3], and its number below. A code
/// whose example is undefined has a grey one. Returns uint8 [H, W, 3].
torch::Tensor code_overview(const std::vector<int64_t>& codes, const std::vector<torch::Tensor>& examples,
                            int64_t side);

}  // namespace beit
