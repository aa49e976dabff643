// Weights of one form for a network of another: another grid of patches, fine-tuning after pre-training.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>

#include "base/grid.h"

namespace beit {

/// Resizes, in the map, whatever depends on the grid: `pos_embed` (bicubic) and `relative_position_bias_table`
/// (core/bias_resize.h) under any prefix, e.g. a tokenizer's `encoder.pos_embed` and `decoder.pos_embed`. The tensors
/// themselves are not written to, equal grids change nothing, and what else the map holds stays; a
/// `relative_position_index` too, which no network here reads from a file.
/// Error that names the first tensor that is not `from`'s; the map is then untouched.
void resize_to_grid(std::map<std::string, torch::Tensor>& tensors, const Grid& from, const Grid& to);

/// The table that all blocks share in pre-training (`rel_pos_bias.relative_position_bias_table`) becomes a copy for
/// each of `depth` blocks (`blocks.N.attn.relative_position_bias_table`), as fine-tuning has them; the shared one and
/// its index are removed. A map without a shared table stays as it is.
void copy_shared_bias_to_blocks(std::map<std::string, torch::Tensor>& tensors, int64_t depth);

}  // namespace beit
