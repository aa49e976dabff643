#include "core/masked_tokens.h"

#include "base/error.h"
#include "core/send.h"

namespace beit {

torch::Tensor MaskedTokens::masked(const torch::Tensor& asked_BQ) const {
  const auto rows = asked_BQ.flatten(0, 1);
  return place_M.defined() ? rows.index_select(0, place_M) : rows;
}

MaskedTokens masked_tokens(const torch::Tensor& mask_BN, const torch::Device& device) {
  require(mask_BN.dim() == 2 && mask_BN.scalar_type() == torch::kBool,
          "masked tokens: expected a bool mask [B, N], got {} [{}]; one entry a patch",
          torch::toString(mask_BN.scalar_type()), fmt::join(mask_BN.sizes(), ", "));
  const int64_t images = mask_BN.size(0);
  const auto patch_M = mask_BN.nonzero().select(1, 1);
  const auto count_B = mask_BN.sum(1);
  const int64_t most = images == 0 ? 0 : count_B.max().item<int64_t>();
  torch::Tensor patch_BQ, place_M;
  if (patch_M.size(0) == images * most) {
    patch_BQ = patch_M.reshape({images, most});
  } else {  // masked patches first, each kind in its order
    patch_BQ =
        std::get<1>(mask_BN.to(torch::kUInt8).sort(/*stable=*/true, /*dim=*/1, /*descending=*/true)).narrow(1, 0, most);
    place_M = torch::arange(most, count_B.options()).lt(count_B.unsqueeze(1)).flatten().nonzero().squeeze(1);
  }
  return {.mask_BN = send(mask_BN, device), .tokens_BQ = send(patch_BQ + 1, device), .place_M = send(place_M, device)};
}

torch::Tensor take_tokens(const torch::Tensor& x_BTD, const torch::Tensor& tokens_BQ) {
  const int64_t images = x_BTD.size(0), tokens = x_BTD.size(1);
  const auto first_B1 = torch::arange(images, tokens_BQ.options()).unsqueeze(1) * tokens;
  // embedding() reads rows as index_select() does; its gradient is much faster on the CPU.
  return torch::embedding(x_BTD.flatten(0, 1), tokens_BQ + first_B1);
}

}  // namespace beit
