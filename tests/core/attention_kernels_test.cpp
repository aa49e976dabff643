// Attention of one head at the level of this process; tests/CMakeLists.txt runs this file once a level.
// Shape letters: Q queries, T tokens, d width.
#include <doctest/doctest.h>
#include <torch/torch.h>

#include <cmath>

#include "core/kernels.h"

namespace beit {
namespace {

constexpr int64_t kGap = 3;  // numbers between rows

/// Rows with a gap behind each, filled with a number that no result has.
torch::Tensor spaced(int64_t rows, int64_t columns) { return torch::full({rows, columns + kGap}, 77.0F); }
torch::Tensor spaced(const torch::Tensor& x) {
  auto rows = spaced(x.size(0), x.size(1));
  rows.narrow(1, 0, x.size(1)).copy_(x);
  return rows;
}
ConstRows in(const torch::Tensor& x) { return {x.const_data_ptr<float>(), x.stride(0)}; }
Rows out(const torch::Tensor& x) { return {x.mutable_data_ptr<float>(), x.stride(0)}; }

void check_rows(const torch::Tensor& found, const torch::Tensor& expected) {
  const int64_t columns = expected.size(1);
  CHECK(torch::allclose(found.narrow(1, 0, columns), expected, 1e-5, 1e-5));
  CHECK(found.narrow(1, columns, kGap).eq(77.0F).all().item<bool>());
}

TEST_CASE("kernels: attention of one head and its gradients are the formula's, whatever the sizes") {
  torch::manual_seed(2);
  for (const auto& [queries, tokens, width] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {0, 5, 8}, {1, 1, 1}, {5, 5, 3}, {1, 17, 8}, {16, 16, 16}, {49, 31, 20}, {100, 197, 64}}) {
    for (const bool biased : {false, true}) {
      CAPTURE(queries);
      CAPTURE(tokens);
      CAPTURE(width);
      CAPTURE(biased);
      const auto q_Qd = torch::randn({queries, width}).requires_grad_();
      const auto k_Td = torch::randn({tokens, width}).requires_grad_(),
                 v_Td = torch::randn({tokens, width}).requires_grad_();
      const auto bias_TT = torch::randn({tokens, tokens}).requires_grad_();
      const auto rows_Q = torch::randint(tokens, {queries}, torch::kInt64);
      const auto grad_y_Qd = torch::randn({queries, width});
      auto scores_QT = q_Qd.matmul(k_Td.t()) / std::sqrt(static_cast<double>(width));
      if (biased) scores_QT = scores_QT + bias_TT.index({rows_Q});
      const auto y_Qd = scores_QT.softmax(-1).matmul(v_Td);
      const auto expected =
          torch::autograd::grad({y_Qd}, {q_Qd, k_Td, v_Td, bias_TT}, {grad_y_Qd}, {}, false, /*allow_unused=*/true);

      const auto q = spaced(q_Qd.detach()), k = spaced(k_Td.detach()), v = spaced(v_Td.detach());
      const AttentionHead head{.queries = queries,
                               .tokens = tokens,
                               .width = width,
                               .q = in(q),
                               .k = in(k),
                               .v = in(v),
                               .bias = biased ? bias_TT.const_data_ptr<float>() : nullptr,
                               .bias_rows = rows_Q.const_data_ptr<int64_t>()};
      const int64_t size = kernels().attention_scratch(tokens, width);
      auto scratch = torch::full({size + 1}, 77.0F);
      const auto y = spaced(queries, width), log_sums_Q1 = spaced(queries, 1).narrow(1, 0, 1).contiguous();
      kernels().attention(head, out(y), log_sums_Q1.mutable_data_ptr<float>(), scratch.mutable_data_ptr<float>());
      check_rows(y, y_Qd);
      CHECK(torch::allclose(log_sums_Q1.squeeze(1), scores_QT.logsumexp(1), 1e-5, 1e-5));

      const auto grad_q = spaced(queries, width), grad_k = spaced(tokens, width), grad_v = spaced(tokens, width);
      const auto grad_bias_TT = torch::ones({tokens, tokens}), grad_y = spaced(grad_y_Qd);
      kernels().attention_backward(head, log_sums_Q1.const_data_ptr<float>(), in(grad_y),
                                   {.q = out(grad_q),
                                    .k = out(grad_k),
                                    .v = out(grad_v),
                                    .bias = biased ? grad_bias_TT.mutable_data_ptr<float>() : nullptr},
                                   scratch.mutable_data_ptr<float>());
      check_rows(grad_q, expected[0]);
      check_rows(grad_k, expected[1]);
      check_rows(grad_v, expected[2]);
      CHECK(torch::allclose(grad_bias_TT, biased ? 1 + expected[3] : torch::ones({tokens, tokens}), 1e-5, 1e-5));
      CHECK(scratch[size].item<float>() == 77.0F);
    }
  }
}

}  // namespace
}  // namespace beit
