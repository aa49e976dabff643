// A relative position bias table for another grid than its own: what a network that was trained at one image size
// needs at another. As in the published code (golden/resize_positions), for rectangular grids too.
// Shape letters: H heads, R rows of a table, F offsets along an axis of one grid, G of the other.
#pragma once

#include <torch/torch.h>

#include "base/grid.h"

namespace beit {

/// float64 [G, F], G = 2 to - 1, F = 2 from - 1: from the biases at the offsets between `from` patches along an axis to
/// those between `to` patches. The source's offsets stand at distances that grow geometrically, by a ratio between 1.01
/// and 1.5, so that the outermost meet those of `to`: near offsets keep their bias, far ones are spread. A cubic spline
/// (not-a-knot; with fewer than four offsets the polynomial) runs through them and is constant beyond its ends. The
/// identity where `from` is `to`.
torch::Tensor bias_resize_matrix(int64_t from, int64_t to);

/// From tables [R, H] of one grid to those of another: a linear map, each axis by its matrix, the three rows of CLS
/// unchanged.
class BiasResize {
 public:
  BiasResize(const Grid& from, const Grid& to, const torch::Device& device = torch::kCPU);

  /// In float64, returned in the table's dtype. Gradients flow to the table. Error unless it is `from`'s.
  torch::Tensor operator()(const torch::Tensor& table_RH) const;

 private:
  Grid from_;
  torch::Tensor rows_GF_, columns_GF_;
};

/// The same for one table, e.g. at loading; equal grids return it as it is.
torch::Tensor resize_bias_table(const torch::Tensor& table_RH, const Grid& from, const Grid& to);

}  // namespace beit
