#include "core/kmeans.h"

#include <algorithm>

namespace beit {
namespace {

constexpr int64_t kScoresAtOnce = int64_t{1} << 20;  // 4 MiB of float32: stays in the cache

}  // namespace

torch::Tensor nearest_codes(const torch::Tensor& z_MD, const torch::Tensor& codes_KD) {
  const int64_t rows = z_MD.size(0), at_once = std::max<int64_t>(1, kScoresAtOnce / codes_KD.size(0));
  const auto square_K = codes_KD.square().sum(1);
  const auto codes_DK = codes_KD.t();
  auto ids_M = torch::empty({rows}, z_MD.options().dtype(torch::kInt64));
  for (int64_t first = 0; first < rows; first += at_once) {
    const int64_t end = std::min(rows, first + at_once);
    ids_M.slice(0, first, end).copy_(torch::addmm(square_K, z_MD.slice(0, first, end), codes_DK, 1, -2).argmin(1));
  }
  return ids_M;
}

torch::Tensor sum_by_code(const torch::Tensor& z_MD, const torch::Tensor& ids_M, int64_t codes) {
  // The gradient of a table look-up is this very sum, and LibTorch's fastest form of it.
  return at::embedding_dense_backward(z_MD, ids_M, codes, /*padding_idx=*/-1, /*scale_grad_by_freq=*/false);
}

KMeans kmeans(const torch::Tensor& z_MD, const torch::Tensor& start_K, int64_t iterations) {
  const int64_t codes = start_K.size(0);
  KMeans result{z_MD.index_select(0, start_K), torch::zeros({codes}, start_K.options())};
  for (int64_t i = 0; i < iterations; ++i) {
    const auto ids_M = nearest_codes(z_MD, result.means_KD);
    result.counts_K = torch::bincount(ids_M, {}, codes);
    const auto count_K1 = result.counts_K.unsqueeze(1);
    const auto mean_KD = sum_by_code(z_MD, ids_M, codes) / count_K1.clamp_min(1);
    result.means_KD =
        torch::where(count_K1.eq(0), result.means_KD,
                     torch::nn::functional::normalize(mean_KD, torch::nn::functional::NormalizeFuncOptions().dim(1)));
  }
  return result;
}

}  // namespace beit
