#include "viz/feature_picture.h"

#include <algorithm>

#include "base/error.h"
#include "viz/tiles.h"

namespace beit {
namespace {

namespace F = torch::nn::functional;

constexpr int64_t kColours = 3;

// In double precision: the components of features that lie close together are small differences.
torch::Tensor unit_length(const torch::Tensor& features_BNF) {
  const auto finite_BNF = features_BNF.detach().to(torch::kCPU, torch::kFloat64).nan_to_num(0, 0, 0);
  return F::normalize(finite_BNF, F::NormalizeFuncOptions().dim(-1));
}

/// The first principal components [F, at most 3] of centred rows, in falling order.
torch::Tensor principal_components(const torch::Tensor& rows_MF) {
  const int64_t width = rows_MF.size(1), components = std::min(width, kColours);
  const auto [values_F, vectors_FF] = torch::linalg_eigh(rows_MF.t().mm(rows_MF));  // in rising order
  const auto basis_FC = vectors_FF.narrow(1, width - components, components).flip(1);
  // Either sign is as good: one is chosen, so that colours do not turn over from one look to the next.
  const auto largest_1C = basis_FC.gather(0, basis_FC.abs().argmax(0, /*keepdim=*/true));
  return basis_FC * largest_1C.sign();
}

}  // namespace

torch::Tensor feature_picture(const torch::Tensor& images_BCHW, const torch::Tensor& target_BNF,
                              const torch::Tensor& predicted_BNF, const Grid& grid) {
  require(images_BCHW.dim() == 4 && target_BNF.dim() == 3 && target_BNF.size(0) == images_BCHW.size(0) &&
              target_BNF.numel() > 0 && target_BNF.sizes() == predicted_BNF.sizes(),
          "picture: expected images [B, 3, H, W] and features [B, N, F] of teacher and prediction, got [{}], [{}] and "
          "[{}]",
          fmt::join(images_BCHW.sizes(), ", "), fmt::join(target_BNF.sizes(), ", "),
          fmt::join(predicted_BNF.sizes(), ", "));
  const auto teacher_BNF = unit_length(target_BNF), mean_F = teacher_BNF.flatten(0, 1).mean(0);
  const auto basis_FC = principal_components((teacher_BNF - mean_F).flatten(0, 1));
  const auto projected = [&](const torch::Tensor& unit_BNF) { return (unit_BNF - mean_F).matmul(basis_FC); };
  const auto teacher_BNC = projected(teacher_BNF);
  const auto ends_2C = torch::quantile(teacher_BNC.flatten(0, 1), torch::tensor({0.02, 0.98}, torch::kFloat64), 0);
  const auto range_C = (ends_2C[1] - ends_2C[0]).clamp_min(1e-12);
  const auto coloured = [&](const torch::Tensor& values_BNC) {
    const auto shade_BNC = ((values_BNC - ends_2C[0]) / range_C).clamp(0, 1);
    const auto rgb_BN3 = F::pad(shade_BNC, F::PadFuncOptions({0, kColours - shade_BNC.size(2)}).value(0.5));
    return over_patches(rgb_BN3, grid, images_BCHW.size(2), images_BCHW.size(3));
  };
  return side_by_side({images_BCHW, coloured(teacher_BNC), coloured(projected(unit_length(predicted_BNF)))});
}

torch::Tensor log_uses(const torch::Tensor& counts_K) { return (counts_K.to(torch::kFloat64) + 1).log10(); }

}  // namespace beit
