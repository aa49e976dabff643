// Shape letters: B images, N patches, T tokens, Q tokens asked for, M masked patches, D width.
#include "core/masked_tokens.h"

#include <doctest/doctest.h>

namespace beit {
namespace {

TEST_CASE("masked tokens: the masked patches of each image in their order, CLS counted") {
  const auto mask_BN = torch::tensor({{0, 1, 0, 1}, {1, 1, 0, 0}}).to(torch::kBool);
  const auto found = masked_tokens(mask_BN);
  CHECK(torch::equal(found.tokens_BQ, torch::tensor({{2, 4}, {1, 2}}, torch::kInt64)));
  CHECK(!found.place_M.defined());
}

TEST_CASE("masked tokens: images with fewer masked patches get others beside, which masked() leaves out") {
  torch::manual_seed(1);
  for (const auto& mask_BN : {torch::tensor({{0, 1, 1}, {0, 0, 0}, {0, 0, 1}}).to(torch::kBool),
                              torch::rand({7, 9}).lt(0.4), torch::zeros({2, 3}, torch::kBool)}) {
    const auto found = masked_tokens(mask_BN);
    const auto x_BND = torch::randn({mask_BN.size(0), mask_BN.size(1), 5});
    const auto x_BTD = torch::cat({torch::zeros({mask_BN.size(0), 1, 5}), x_BND}, 1);
    CHECK(torch::equal(found.masked(take_tokens(x_BTD, found.tokens_BQ)), x_BND.index({mask_BN})));
  }
}

TEST_CASE("take_tokens: gradients go back to the tokens taken, added up where one is taken twice") {
  const auto x_BTD = torch::randn({2, 3, 4}).requires_grad_();
  take_tokens(x_BTD, torch::tensor({{0, 0}, {2, 1}}, torch::kInt64)).sum().backward();
  const auto expected_BT1 = torch::tensor({{2.0F, 0.0F, 0.0F}, {0.0F, 1.0F, 1.0F}}).unsqueeze(-1);
  CHECK(torch::equal(x_BTD.grad(), expected_BT1.expand({2, 3, 4})));
}

}  // namespace
}  // namespace beit
