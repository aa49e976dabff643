// Each entry beside LibTorch's own operations, at the level of this process; tests/CMakeLists.txt runs this file once a
// level.
#include "core/kernels.h"

#include <doctest/doctest.h>
#include <torch/torch.h>

namespace beit {
namespace {

const float* in(const torch::Tensor& x) { return x.const_data_ptr<float>(); }
float* out(torch::Tensor& x) { return x.mutable_data_ptr<float>(); }

TEST_CASE("kernels: gelu and its gradient are LibTorch's, whatever the length") {
  torch::manual_seed(1);
  for (const int64_t count : {1, 7, 16, 33, 1000}) {
    CAPTURE(count);
    const auto x = 3 * torch::randn({count}), grad_y = torch::randn({count});
    auto y = torch::full({count + 1}, 77.0F);
    kernels().gelu(in(x), out(y), count);
    CHECK(torch::allclose(y.slice(0, 0, count), torch::gelu(x), 1e-6, 1e-6));
    auto grad_x = grad_y.clone();
    kernels().gelu_backward(in(x), in(grad_x), out(grad_x), out(y), count);
    CHECK(torch::allclose(grad_x, torch::gelu_backward(grad_y, x), 1e-6, 1e-6));
    CHECK(torch::allclose(y.slice(0, 0, count), torch::gelu(x), 1e-6, 1e-6));
    CHECK(y[count].item<float>() == 77.0F);
  }
}

}  // namespace
}  // namespace beit
