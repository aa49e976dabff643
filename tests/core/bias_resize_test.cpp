// Shape letters: H heads, R rows of a table.
#include "core/bias_resize.h"

#include "base/error.h"
#include "core/rel_pos.h"
#include "tests/core/golden.h"
#include "tests/support.h"

namespace beit {
namespace {

torch::Tensor random_table(const Grid& grid) { return torch::randn({bias_table_rows(grid), 2}); }

/// The table of the grid with rows and columns exchanged.
torch::Tensor transposed(const torch::Tensor& table_RH, const Grid& grid) {
  const auto offsets = table_RH.slice(0, 0, -3).unflatten(0, {2 * grid.rows - 1, 2 * grid.columns - 1});
  return torch::cat({offsets.transpose(0, 1).flatten(0, 1), table_RH.slice(0, -3)});
}

TEST_CASE("bias resize: tables are resized as in the published code") {
  const auto tensors = read_safetensors(golden("resize_positions.safetensors")).tensors;
  for (const auto& [from, to] : {std::pair<int64_t, int64_t>{14, 24}, {14, 32}, {7, 14}}) {
    const auto name = fmt::format("rel_{}_{}", from, to);
    CAPTURE(name);
    const auto found = resize_bias_table(tensors.at("in." + name), {from, from}, {to, to});
    CHECK(difference(found, tensors.at("out." + name)) < 1e-5);
  }
}

TEST_CASE("bias resize: equal grids and the rows of CLS keep every bit") {
  torch::manual_seed(31);
  const Grid from{3, 5}, to{6, 4};
  const auto table_RH = random_table(from);
  CHECK(torch::equal(resize_bias_table(table_RH, from, from), table_RH));
  CHECK(torch::equal(BiasResize(from, from)(table_RH), table_RH));
  const auto found = resize_bias_table(table_RH, from, to);
  CHECK(found.sizes() == torch::IntArrayRef({bias_table_rows(to), 2}));
  CHECK(torch::equal(found.slice(0, -3), table_RH.slice(0, -3)));
}

TEST_CASE("bias resize: rows and columns of a grid are treated alike and not taken for each other") {
  torch::manual_seed(32);
  for (const auto& [from, to] :
       {std::pair{Grid{4, 6}, Grid{9, 7}}, {Grid{6, 3}, Grid{2, 8}}, {Grid{5, 5}, Grid{5, 8}}}) {
    const auto table_RH = random_table(from);
    const auto found = resize_bias_table(transposed(table_RH, from), {from.columns, from.rows}, {to.columns, to.rows});
    CHECK(difference(found, transposed(resize_bias_table(table_RH, from, to), to)) < 1e-6);
  }
  // Along an axis of equal length nothing is mixed.
  const Grid from{2, 4}, to{2, 7};
  auto table_RH = torch::zeros({bias_table_rows(from), 1});
  table_RH.slice(0, 0, 7) = 1;  // one row up
  const auto found = resize_bias_table(table_RH, from, to).slice(0, 0, -3).view({3, 13});
  CHECK(difference(found, torch::tensor({1.F, 0.F, 0.F}).unsqueeze(1).expand({3, 13})) < 1e-6);
}

TEST_CASE("bias resize: the middle stays, and a bias that is the same everywhere stays so") {
  for (const auto& [from, to] : {std::pair<int64_t, int64_t>{14, 24}, {14, 9}, {3, 20}, {2, 5}, {1, 4}, {64, 3}}) {
    const auto matrix_GF = bias_resize_matrix(from, to);
    CHECK(matrix_GF.sizes() == torch::IntArrayRef({2 * to - 1, 2 * from - 1}));
    CHECK(difference(matrix_GF.sum(1), torch::ones({2 * to - 1})) < 1e-9);
    CHECK(difference(matrix_GF[to - 1], torch::one_hot(torch::tensor(from - 1), 2 * from - 1)) < 1e-9);
    CHECK(difference(matrix_GF.flip({0, 1}), matrix_GF) < 1e-9);
  }
}

TEST_CASE("bias resize: few offsets are a polynomial, and beyond the last one the bias is constant") {
  CHECK(torch::equal(bias_resize_matrix(1, 3), torch::ones({5, 1}, torch::kFloat64)));
  const auto two_to_four = torch::tensor({{1.0, 0.0, 0.0},
                                          {1.0, 0.0, 0.0},
                                          {1.0, 0.0, 0.0},
                                          {0.0, 1.0, 0.0},
                                          {0.0, 0.0, 1.0},
                                          {0.0, 0.0, 1.0},
                                          {0.0, 0.0, 1.0}});
  CHECK(difference(bias_resize_matrix(2, 4), two_to_four) < 1e-9);
}

TEST_CASE("bias resize: a table's gradient is the transposed map, and the table keeps its dtype") {
  torch::manual_seed(33);
  const Grid from{3, 2}, to{4, 5};
  const auto table_RH = random_table(from).requires_grad_(), weight = random_table(to);
  (resize_bias_table(table_RH, from, to) * weight).sum().backward();
  const auto direction = random_table(from);
  const auto slope = (resize_bias_table(direction, from, to) * weight).sum();
  CHECK(difference((table_RH.grad() * direction).sum(), slope) < 1e-5);
  CHECK((resize_bias_table(direction.to(torch::kHalf), from, to).scalar_type() == torch::kHalf));
}

TEST_CASE("bias resize: a table of another grid is refused") {
  const auto table_RH = torch::zeros({732, 12});
  CHECK_THROWS_WITH_AS(
      resize_bias_table(table_RH, {7, 7}, {14, 14}),
      doctest::Contains("expected a table [172, heads] for 7x7 patches, got [732, 12]; check the file's patch"), Error);
  CHECK_THROWS_AS(resize_bias_table(table_RH, {7, 7}, {7, 7}), Error);
  CHECK_THROWS_AS(resize_bias_table(table_RH.flatten(), {14, 14}, {7, 7}), Error);
}

}  // namespace
}  // namespace beit
