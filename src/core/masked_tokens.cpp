#include "core/masked_tokens.h"

namespace beit {

torch::Tensor MaskedTokens::masked(const torch::Tensor& asked_BQ) const {
  const auto rows = asked_BQ.flatten(0, 1);
  return place_M.defined() ? rows.index_select(0, place_M) : rows;
}

MaskedTokens masked_tokens(const torch::Tensor& mask_BN) {
  const auto count_B = mask_BN.sum(1);
  const auto most = count_B.numel() == 0 ? 0 : count_B.max().item<int64_t>(), all = count_B.sum().item<int64_t>();
  // Masked patches first, each kind in its order.
  const auto patch_BQ =
      std::get<1>(mask_BN.to(torch::kUInt8).sort(/*stable=*/true, /*dim=*/1, /*descending=*/true)).narrow(1, 0, most);
  MaskedTokens found{.tokens_BQ = patch_BQ + 1, .place_M = {}};
  if (all < most * mask_BN.size(0)) {
    found.place_M = torch::arange(most, count_B.options()).lt(count_B.unsqueeze(1)).flatten().nonzero().squeeze(1);
  }
  return found;
}

torch::Tensor take_tokens(const torch::Tensor& x_BTD, const torch::Tensor& tokens_BQ) {
  const int64_t images = x_BTD.size(0), tokens = x_BTD.size(1);
  const auto first_B1 = torch::arange(images, tokens_BQ.options()).unsqueeze(1) * tokens;
  // embedding() reads rows as index_select() does; its gradient is much faster on the CPU.
  return torch::embedding(x_BTD.flatten(0, 1), tokens_BQ + first_B1);
}

}  // namespace beit
