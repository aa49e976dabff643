// Relative position bias: a learnt number for each head and each offset between two patches, added to the attention
// scores (paper, section 3.1; BEiT, section 2.3).
// Shape letters: H heads, T tokens (CLS and the patches), R rows of the table.
#pragma once

#include <torch/torch.h>

#include "base/grid.h"

namespace beit {

/// R = (2 rows - 1)(2 columns - 1) + 3; the last three rows are CLS to patch, patch to CLS, CLS to CLS.
int64_t bias_table_rows(const Grid& grid);

/// int64 [T, T]: for each pair of tokens the row of the bias table.
torch::Tensor relative_position_index(const Grid& grid);

/// The bias of a table: [R, H] and an index [T, T] give [H, T, T].
torch::Tensor relative_position_bias(const torch::Tensor& table_RH, const torch::Tensor& index_TT);

/// One table that all blocks share (`rel_pos_bias.*` in files). forward() gives [H, T, T].
class RelPosBiasImpl : public torch::nn::Module {
 public:
  RelPosBiasImpl(const Grid& grid, int64_t heads);
  torch::Tensor forward();

 private:
  torch::Tensor table_RH_, index_TT_;
};
TORCH_MODULE(RelPosBias);

}  // namespace beit
