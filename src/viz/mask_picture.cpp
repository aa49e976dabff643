#include "viz/mask_picture.h"

#include "base/error.h"
#include "viz/tiles.h"

namespace beit {
namespace {

constexpr float kGrey = 0.5F;
// A bluish green and a vermilion, which people tell apart who see no difference between green and red.
constexpr float kRight[] = {0.0F, 0.62F, 0.45F}, kWrong[] = {0.84F, 0.37F, 0.0F};

torch::Tensor colour_1311(const float (&channels)[3]) {
  return torch::tensor(at::ArrayRef<float>(channels)).view({1, 3, 1, 1});
}

}  // namespace

torch::Tensor mask_picture(const torch::Tensor& images_BCHW, const torch::Tensor& mask_BN, const torch::Tensor& right_M,
                           const Grid& grid) {
  require(images_BCHW.dim() == 4 && mask_BN.dim() == 2 && mask_BN.size(0) == images_BCHW.size(0) &&
              mask_BN.scalar_type() == torch::kBool && right_M.scalar_type() == torch::kBool && right_M.dim() == 1,
          "picture: expected images [B, 3, H, W], a bool mask [B, N] and bool [M], got [{}], {} [{}] and {} [{}]",
          fmt::join(images_BCHW.sizes(), ", "), torch::toString(mask_BN.scalar_type()),
          fmt::join(mask_BN.sizes(), ", "), torch::toString(right_M.scalar_type()), fmt::join(right_M.sizes(), ", "));
  const auto image_BCHW = images_BCHW.detach().to(torch::kCPU, torch::kFloat32);
  const auto on_cpu_BN = mask_BN.to(torch::kCPU);
  const auto masked = on_cpu_BN.sum().item<int64_t>();
  require(right_M.size(0) == masked, "picture: expected an answer for each of {} masked patches, got {}", masked,
          right_M.size(0));
  const int64_t height = image_BCHW.size(2), width = image_BCHW.size(3);
  const auto spread_B1HW = [&](const torch::Tensor& flags_BN) {
    return over_patches(flags_BN.unsqueeze(2), grid, height, width);
  };
  const auto masked_B1HW = spread_B1HW(on_cpu_BN);
  const auto right_B1HW = spread_B1HW(torch::zeros_like(on_cpu_BN).masked_scatter(on_cpu_BN, right_M.to(torch::kCPU)));

  const auto light_B1HW = image_BCHW.mean(1, /*keepdim=*/true);
  const auto answer_BCHW =
      torch::where(right_B1HW, colour_1311(kRight), colour_1311(kWrong)) * (0.5 + 0.5 * light_B1HW);
  return side_by_side({image_BCHW, torch::where(masked_B1HW, torch::full_like(image_BCHW, kGrey), image_BCHW),
                       torch::where(masked_B1HW, answer_BCHW, 0.6 + 0.4 * light_B1HW)});
}

}  // namespace beit
