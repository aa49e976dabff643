#include "core/bias_resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "core/rel_pos.h"

namespace beit {
namespace {

void check_table(const torch::Tensor& table_RH, const Grid& grid) {
  require(
      table_RH.dim() == 2 && table_RH.size(0) == bias_table_rows(grid),
      "relative position bias: expected a table [{}, heads] for {}x{} patches, got [{}]; check the file's patch and "
      "image size",
      bias_table_rows(grid), grid.rows, grid.columns, fmt::join(table_RH.sizes(), ", "));
}

/// Where the offsets between `from` patches stand on the axis of `to` patches, [F].
torch::Tensor geometric_positions(int64_t from, int64_t to) {
  // The distances 1, q, q^2, ... must add up to the farthest offset; bisection as in the published code.
  const auto offsets = static_cast<double>(from - 1), farthest = static_cast<double>(to - 1);
  double low = 1.01, high = 1.5, ratio = low;
  while (high - low > 1e-6) {
    ratio = (low + high) / 2;
    ((1 - std::pow(ratio, offsets)) / (1 - ratio) > farthest ? high : low) = ratio;
  }
  std::vector<double> positions(static_cast<size_t>(2 * from - 1));
  const auto middle = positions.begin() + (from - 1);
  double position = 0;
  for (int64_t i = 1; i < from; ++i) {
    position += std::pow(ratio, static_cast<double>(i - 1));
    middle[i] = position;
    middle[-i] = -position;
  }
  return torch::tensor(positions, torch::kFloat64);
}

/// The B-splines of a not-a-knot spline through F points, each at all of `x`: [X, F] (de Boor's recursion).
torch::Tensor b_splines(const torch::Tensor& points_F, const torch::Tensor& x_X) {
  const int64_t points = points_F.size(0), degree = std::min<int64_t>(3, points - 1);
  // The second and the second last point of a cubic spline are no knots.
  const auto inner = points_F.slice(0, 2, std::max<int64_t>(points - 2, 2));
  const auto first = points_F.slice(0, 0, 1).expand({degree + 1}), last = points_F.slice(0, -1).expand({degree + 1});
  const auto knots = torch::cat({first, inner, last});
  const auto interval_X = torch::searchsorted(inner, x_X, /*out_int32=*/false, /*right=*/true) + degree;
  auto splines = torch::one_hot(interval_X, knots.size(0) - 1).to(torch::kFloat64);
  for (int64_t d = 1; d <= degree; ++d) {
    const auto start = knots.slice(0, 0, -d), width = knots.slice(0, d) - start;
    const auto rising = splines * ((x_X.unsqueeze(1) - start) / width).nan_to_num(0, 0, 0);  // width 0: spline 0
    splines = rising.slice(1, 0, -1) + (splines - rising).slice(1, 1);
  }
  return splines;
}

}  // namespace

torch::Tensor bias_resize_matrix(int64_t from, int64_t to) {
  if (from == to) return torch::eye(2 * from - 1, torch::kFloat64);
  const auto points_F = geometric_positions(from, to);
  const double end = points_F[-1].item<double>();
  const auto wanted_G = torch::arange(1 - to, to, torch::kFloat64).clamp(-end, end);
  return torch::linalg_solve(b_splines(points_F, points_F), b_splines(points_F, wanted_G), /*left=*/false);
}

BiasResize::BiasResize(const Grid& from, const Grid& to, const torch::Device& device)
    : from_(from),
      rows_GF_(bias_resize_matrix(from.rows, to.rows).to(device)),
      columns_GF_(bias_resize_matrix(from.columns, to.columns).to(device)) {}

torch::Tensor BiasResize::operator()(const torch::Tensor& table_RH) const {
  check_table(table_RH, from_);
  const auto bias_HFF = table_RH.slice(0, 0, -3).t().to(torch::kFloat64).unflatten(1, {rows_GF_.size(1), -1});
  const auto resized_HGG = rows_GF_.matmul(bias_HFF).matmul(columns_GF_.t());
  return torch::cat({resized_HGG.flatten(1).t().to(table_RH.scalar_type()), table_RH.slice(0, -3)});
}

torch::Tensor resize_bias_table(const torch::Tensor& table_RH, const Grid& from, const Grid& to) {
  check_table(table_RH, from);
  return from == to ? table_RH : BiasResize(from, to)(table_RH);
}

}  // namespace beit
