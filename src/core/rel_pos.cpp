#include "core/rel_pos.h"

namespace beit {

int64_t bias_table_rows(const Grid& grid) { return (2 * grid.rows - 1) * (2 * grid.columns - 1) + 3; }

torch::Tensor relative_position_index(const Grid& grid) {
  const int64_t span = 2 * grid.columns - 1;
  const auto patch = torch::arange(grid.patches());
  const auto row = patch.div(grid.columns, "floor"), column = patch.remainder(grid.columns);
  const auto row_offset = row.unsqueeze(1) - row.unsqueeze(0) + grid.rows - 1;
  const auto column_offset = column.unsqueeze(1) - column.unsqueeze(0) + grid.columns - 1;

  const int64_t rows = bias_table_rows(grid);
  auto index_TT = torch::empty({grid.patches() + 1, grid.patches() + 1}, torch::kInt64);
  index_TT.slice(0, 1).slice(1, 1).copy_(row_offset * span + column_offset);
  index_TT.select(0, 0).fill_(rows - 3);
  index_TT.select(1, 0).fill_(rows - 2);
  index_TT[0][0].fill_(rows - 1);
  return index_TT;
}

torch::Tensor relative_position_bias(const torch::Tensor& table_RH, const torch::Tensor& index_TT,
                                     const std::optional<OtherGrid>& other) {
  if (other) return relative_position_bias(other->resize(table_RH), other->index_TT);
  // embedding() reads rows as index_select() does; its gradient is much faster on the CPU.
  // A module that is moved to another type takes its buffers along, so the index may come as float32 or float64.
  return torch::embedding(table_RH, index_TT.to(torch::kInt64)).permute({2, 0, 1}).contiguous();
}

RelPosBiasImpl::RelPosBiasImpl(const Grid& grid, int64_t heads)
    : table_RH_(register_parameter("relative_position_bias_table", torch::zeros({bias_table_rows(grid), heads}))),
      index_TT_(register_buffer("relative_position_index", relative_position_index(grid))) {}

torch::Tensor RelPosBiasImpl::forward(const std::optional<OtherGrid>& other) {
  return relative_position_bias(table_RH_, index_TT_, other);
}

}  // namespace beit
