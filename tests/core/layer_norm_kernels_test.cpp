// tests/CMakeLists.txt runs this file once a level of vector instructions.
// Shape letters: M rows, D width.
#include <doctest/doctest.h>
#include <torch/torch.h>

#include "core/kernels.h"

namespace beit {
namespace {

TEST_CASE("kernels: layer_norm and its gradients are LibTorch's, whatever the width") {
  torch::manual_seed(5);
  constexpr int64_t kRows = 7;
  for (const int64_t width : {1, 15, 16, 100}) {
    CAPTURE(width);
    const auto x_MD = torch::randn({kRows, width}) * 3 + 2, grad_MD = torch::randn({kRows, width}),
               more_MD = torch::randn({kRows, width});
    const auto weight_D = torch::randn({width}), bias_D = torch::randn({width});
    const RowNorm norm{.width = width,
                       .eps = 1e-3F,
                       .weight = weight_D.const_data_ptr<float>(),
                       .bias = bias_D.const_data_ptr<float>()};
    const auto leaf = [](const torch::Tensor& x) { return x.to(torch::kFloat64).requires_grad_(); };
    const auto x = leaf(x_MD), weight = leaf(weight_D), bias = leaf(bias_D);
    const auto expected_MD = torch::layer_norm(x, {width}, weight, bias, 1e-3);
    expected_MD.backward(grad_MD.to(torch::kFloat64));
    const auto close = [](const torch::Tensor& ours, const torch::Tensor& theirs) {
      return torch::allclose(ours.to(torch::kFloat64), theirs, 1e-4, 1e-4);
    };

    const auto y_MD = torch::full({kRows + 1, width}, 9.0);
    const auto moments_M2 = torch::empty({kRows, 2});
    auto* const moments = moments_M2.mutable_data_ptr<float>();
    kernels().layer_norm(norm, x_MD.const_data_ptr<float>(), kRows, y_MD.mutable_data_ptr<float>(), moments);
    CHECK(close(y_MD.slice(0, 0, kRows), expected_MD));
    CHECK(torch::equal(y_MD[kRows], torch::full({width}, 9.0)));
    CHECK(close(moments_M2.select(1, 0), x.mean(1)));
    CHECK(close(moments_M2.select(1, 1), (x.var(1, /*unbiased=*/false) + 1e-3).rsqrt()));

    // To the gradients of weight and bias is added; that of x may take the memory of what came.
    const auto grad_x_MD = grad_MD.clone(), grad_weight_D = torch::ones({width}), grad_bias_D = torch::ones({width});
    kernels().layer_norm_backward(norm, x_MD.const_data_ptr<float>(), moments, kRows, grad_x_MD.const_data_ptr<float>(),
                                  more_MD.const_data_ptr<float>(), grad_x_MD.mutable_data_ptr<float>(),
                                  grad_weight_D.mutable_data_ptr<float>(), grad_bias_D.mutable_data_ptr<float>());
    CHECK(close(grad_x_MD, x.grad() + more_MD));
    CHECK(close(grad_weight_D, weight.grad() + 1));
    CHECK(close(grad_bias_D, bias.grad() + 1));
  }
}

TEST_CASE("kernels: transpose, whatever the size") {
  for (const int64_t rows : {1, 16, 65}) {
    for (const int64_t columns : {1, 16, 40}) {
      const auto x = torch::randn({rows, columns}), y = torch::zeros({columns, rows});
      kernels().transpose(x.const_data_ptr<float>(), rows, columns, y.mutable_data_ptr<float>());
      CHECK(torch::equal(y, x.t()));
    }
  }
}

}  // namespace
}  // namespace beit
