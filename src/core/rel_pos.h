// Relative position bias: a learnt number for each head and each offset between two patches, added to the attention
// scores (paper, section 3.1; BEiT, section 2.3).
// Shape letters: H heads, T tokens (CLS and the patches), R rows of the table.
#pragma once

#include <torch/torch.h>

#include <optional>

#include "base/grid.h"
#include "core/bias_resize.h"

namespace beit {

/// R = (2 rows - 1)(2 columns - 1) + 3; the last three rows are CLS to patch, patch to CLS, CLS to CLS.
int64_t bias_table_rows(const Grid& grid);

/// int64 [T, T]: for each pair of tokens the row of the bias table.
torch::Tensor relative_position_index(const Grid& grid);

/// What the bias on another grid than a table's own takes.
struct OtherGrid {
  Grid grid;
  BiasResize resize;
  torch::Tensor index_TT;
};

/// The bias of a table: [R, H] and its grid's index [T, T] give [H, T, T]; on another grid the resized table is read.
torch::Tensor relative_position_bias(const torch::Tensor& table_RH, const torch::Tensor& index_TT,
                                     const std::optional<OtherGrid>& other = {});

/// One table that all blocks share (`rel_pos_bias.*` in files). forward() gives [H, T, T].
class RelPosBiasImpl : public torch::nn::Module {
 public:
  RelPosBiasImpl(const Grid& grid, int64_t heads);
  torch::Tensor forward(const std::optional<OtherGrid>& other = {});

 private:
  torch::Tensor table_RH_, index_TT_;
};
TORCH_MODULE(RelPosBias);

}  // namespace beit
