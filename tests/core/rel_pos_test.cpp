// Shape letters: H heads, T tokens, R rows of the table.
#include "core/rel_pos.h"

#include <doctest/doctest.h>

namespace beit {
namespace {

TEST_CASE("rel_pos: each pair of patches reads the row of its offset, on square and other grids") {
  for (const Grid& grid : {Grid{3, 3}, Grid{2, 4}, Grid{4, 1}, Grid{1, 1}}) {
    CAPTURE(grid.rows);
    CAPTURE(grid.columns);
    const auto index_TT = relative_position_index(grid);
    const auto index = index_TT.accessor<int64_t, 2>();
    const int64_t tokens = grid.patches() + 1, rows = bias_table_rows(grid);
    CHECK(index_TT.sizes() == torch::IntArrayRef({tokens, tokens}));
    CHECK(rows == (2 * grid.rows - 1) * (2 * grid.columns - 1) + 3);
    for (int64_t i = 0; i < grid.patches(); ++i) {
      for (int64_t j = 0; j < grid.patches(); ++j) {
        const int64_t down = i / grid.columns - j / grid.columns, right = i % grid.columns - j % grid.columns;
        CHECK(index[i + 1][j + 1] == (down + grid.rows - 1) * (2 * grid.columns - 1) + right + grid.columns - 1);
      }
      CHECK(index[0][i + 1] == rows - 3);
      CHECK(index[i + 1][0] == rows - 2);
    }
    CHECK(index[0][0] == rows - 1);
  }
}

TEST_CASE("rel_pos: the bias is a look-up, and a row's gradient the sum over the pairs that read it") {
  torch::manual_seed(1);
  const auto index_TT = relative_position_index({2, 3});
  const auto table_RH = torch::randn({bias_table_rows({2, 3}), 2}).requires_grad_();
  const auto bias_HTT = relative_position_bias(table_RH, index_TT);
  CHECK(bias_HTT.sizes() == torch::IntArrayRef({2, 7, 7}));
  for (int64_t i = 0; i < 7; ++i) {
    for (int64_t j = 0; j < 7; ++j) {
      CHECK(torch::equal(bias_HTT.select(1, i).select(1, j), table_RH[index_TT[i][j].item<int64_t>()]));
    }
  }
  bias_HTT.sum().backward();
  const auto pairs_R = torch::bincount(index_TT.flatten(), {}, table_RH.size(0)).to(torch::kFloat32);
  CHECK(torch::equal(table_RH.grad(), pairs_R.unsqueeze(1).expand({-1, 2})));
}

TEST_CASE("rel_pos: the shared table starts at zero and is one parameter") {
  RelPosBias bias(Grid{3, 3}, 4);
  REQUIRE(bias->parameters().size() == 1);
  CHECK(bias->named_parameters().contains("relative_position_bias_table"));
  CHECK(torch::equal(bias->forward(), torch::zeros({4, 10, 10})));
}

}  // namespace
}  // namespace beit
