// Shape letters: M rows, R rows of a tile, D inputs, F outputs, P parts, one a thread.
#include "core/tiled_layers.h"

#include <ATen/Version.h>

#include "core/first_gradients.h"
#include "core/onednn.h"
#include "core/tiles.h"

namespace beit {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kMostWeights = 192 * 1024;  // three quarters of a MiB of a core's cache

struct TiledLinear : torch::autograd::Function<TiledLinear> {
  static Tensor forward(AutogradContext* context, const Tensor& x_MD, const Tensor& weight_FD, const Tensor& bias_F) {
    const int64_t inputs = weight_FD.size(1), outputs = weight_FD.size(0);
    const auto weight_DF = transposed(weight_FD);
    const Parts parts(x_MD.size(0));
    const auto y_MF = at::empty({parts.items, outputs}, x_MD.options());
    parts.for_each_tile([&](int64_t /*part*/, int64_t first, int64_t rows) {
      float* const y = out(y_MF) + first * outputs;
      fill_rows(in(bias_F), rows, outputs, y);
      multiply(rows, outputs, inputs, in(x_MD) + first * inputs, in(weight_DF), y);
    });
    context->save_for_backward({x_MD, weight_FD});
    return y_MF;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    refuse_gradients_of_gradients("linear");
    const auto saved = context->get_saved_variables();
    const auto &x_MD = saved[0], &weight_FD = saved[1];
    const auto grad_MF = gradients[0].contiguous();
    const int64_t inputs = weight_FD.size(1), outputs = weight_FD.size(0);
    const Parts parts(x_MD.size(0));
    const bool wants_x = context->needs_input_grad(0), wants_weight = context->needs_input_grad(1);
    const auto grad_x_MD = wants_x ? at::empty_like(x_MD) : Tensor();
    const PartSums grad_DF(parts.count, {inputs, outputs}), grad_bias_F(parts.count, {outputs});
    const Scratch scratch(parts.count, {kTileRows * inputs});
    parts.for_each_tile([&](int64_t part, int64_t first, int64_t rows) {
      const float* const grad = in(grad_MF) + first * outputs;
      if (wants_x) multiply(rows, inputs, outputs, grad, in(weight_FD), out(grad_x_MD) + first * inputs, Into::kNew);
      if (wants_weight) {
        kernels().transpose(in(x_MD) + first * inputs, rows, inputs, scratch(part, 0));
        multiply(inputs, outputs, rows, scratch(part, 0), grad, grad_DF[part]);
      }
      add_rows(grad, rows, outputs, grad_bias_F[part]);
    });
    return {grad_x_MD, transposed(grad_DF.sum()), grad_bias_F.sum()};
  }
};

}  // namespace

bool suits_tiles(int64_t numbers) {
  static const bool has_products = at::get_cpu_capability() == "AVX2" || at::get_cpu_capability() == "AVX512";
  return has_products && has_onednn() && numbers <= kMostWeights;
}

Tensor tiled_linear(const Tensor& x_MD, const Tensor& weight_FD, const Tensor& bias_F) {
  return TiledLinear::apply(x_MD.contiguous(), weight_FD.contiguous(), bias_F.contiguous());
}

}  // namespace beit
