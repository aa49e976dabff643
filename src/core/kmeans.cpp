#include "core/kmeans.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/parallel.h"
#include "core/cpu_float32.h"
#include "core/kernels.h"

namespace beit {
namespace {

constexpr int64_t kScoresAtOnce = int64_t{1} << 20;  // 4 MiB of float32: stays in the cache

constexpr int64_t kRowsAtLeast = 96;  // of a thread

/// |w|^2 / 2 and -w of each code, in the order that kernels().nearest wants.
torch::Tensor code_tiles(const torch::Tensor& codes_KD) {
  const int64_t codes = codes_KD.size(0), width = codes_KD.size(1), tiles = (codes + kNearestTile - 1) / kNearestTile;
  auto rows = torch::zeros({tiles * kNearestTile, 1 + width}, codes_KD.options());
  rows.slice(0, codes).select(1, 0).fill_(std::numeric_limits<float>::infinity());  // fills the tile, never nearest
  rows.slice(0, 0, codes).select(1, 0).copy_(codes_KD.square().sum(1).mul_(0.5));
  rows.slice(0, 0, codes).slice(1, 1).copy_(codes_KD.neg());
  return rows.view({tiles, kNearestTile, 1 + width}).transpose(1, 2).contiguous();
}

/// Products and minima in one pass: scores stay in registers.
torch::Tensor nearest_in_vectors(const torch::Tensor& z_MD, const torch::Tensor& codes_KD) {
  const int64_t rows = z_MD.size(0), width = z_MD.size(1);
  const auto tiles = code_tiles(codes_KD), z = z_MD.contiguous();
  const float *from = z.const_data_ptr<float>(), *to = tiles.const_data_ptr<float>();
  auto ids_M = torch::empty({rows}, z_MD.options().dtype(torch::kInt64));
  auto* ids = ids_M.mutable_data_ptr<int64_t>();
  parallel_for(0, rows, kRowsAtLeast, [&](int64_t begin, int64_t end) {
    kernels().nearest(from + begin * width, end - begin, width, to, tiles.size(0), ids + begin);
  });
  return ids_M;
}

/// Without vectors LibTorch's products are faster.
bool in_vectors(const torch::Tensor& z_MD, const torch::Tensor& codes_KD) {
  return kernels().in_vectors && is_cpu_float32(z_MD) && is_cpu_float32(codes_KD) &&
         codes_KD.size(0) <= kNearestMostCodes;
}

}  // namespace

torch::Tensor nearest_codes(const torch::Tensor& z_MD, const torch::Tensor& codes_KD) {
  require(z_MD.dim() == 2 && codes_KD.dim() == 2 && codes_KD.size(0) > 0 && z_MD.size(1) == codes_KD.size(1),
          "k-means: expected rows [M, D] and at least one code [K, D], got [{}] and [{}]",
          fmt::join(z_MD.sizes(), ", "), fmt::join(codes_KD.sizes(), ", "));
  if (in_vectors(z_MD, codes_KD)) return nearest_in_vectors(z_MD, codes_KD);
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
