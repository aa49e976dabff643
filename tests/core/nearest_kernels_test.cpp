// tests/CMakeLists.txt runs this file once a level of vector instructions. Shape letters: M rows, K codes, D width.
#include <doctest/doctest.h>
#include <torch/torch.h>

#include <limits>

#include "core/kernels.h"

namespace beit {
namespace {

/// [tiles, 1 + D, kNearestTile] of what the scores start from, [K], and codes [K, D].
torch::Tensor tiles_of(const torch::Tensor& start_K, const torch::Tensor& codes_KD) {
  return torch::cat({start_K.unsqueeze(1), codes_KD}, 1)
      .view({-1, kNearestTile, 1 + codes_KD.size(1)})
      .mT()
      .contiguous();
}

torch::Tensor nearest(const torch::Tensor& z_MD, const torch::Tensor& tiles) {
  const int64_t rows = z_MD.size(0);
  auto ids_M = torch::full({rows + 1}, 77, torch::kInt64);
  kernels().nearest(z_MD.const_data_ptr<float>(), rows, z_MD.size(1), tiles.const_data_ptr<float>(), tiles.size(0),
                    ids_M.mutable_data_ptr<int64_t>());
  CHECK(ids_M[rows].item<int64_t>() == 77);
  return ids_M.slice(0, 0, rows);
}

TEST_CASE("kernels: nearest is the first argmin of start + z codes^T, whatever the number of rows and the width") {
  torch::manual_seed(2);
  for (const int64_t rows : {1, 5, 6, 97, 200}) {
    for (const int64_t width : {1, 4, 33}) {
      CAPTURE(rows);
      CAPTURE(width);
      // Whole numbers: no rounding, and many equals.
      const auto z_MD = torch::randint(-3, 4, {rows, width}).to(torch::kFloat32);
      const auto codes_KD = torch::randint(-3, 4, {3 * kNearestTile, width}).to(torch::kFloat32);
      const auto start_K = torch::randint(-2, 3, {3 * kNearestTile}).to(torch::kFloat32);
      const auto expected_M = torch::addmm(start_K, z_MD, codes_KD.t()).argmin(1);
      CHECK(torch::equal(nearest(z_MD, tiles_of(start_K, codes_KD)), expected_M));
    }
  }
}

TEST_CASE("kernels: nearest is code 0 where no score is a number below infinity") {
  const auto codes_KD = torch::ones({kNearestTile, 2}), start_K = torch::zeros({kNearestTile});
  const auto bad = std::numeric_limits<float>::quiet_NaN(), far = std::numeric_limits<float>::infinity();
  const auto z_MD = torch::tensor({{bad, 0.0F}, {far, 0.0F}});
  CHECK(torch::equal(nearest(z_MD, tiles_of(start_K, codes_KD)), torch::tensor({0, 0})));
}

}  // namespace
}  // namespace beit
