// Shape letters: M rows, D inputs, F outputs, H hidden width.
#include "core/linear.h"

#include <ATen/Version.h>
#include <ATen/autocast_mode.h>

#include <algorithm>

#include "base/parallel.h"
#include "core/cpu_float32.h"
#include "core/first_gradients.h"
#include "core/kernels.h"
#include "core/onednn.h"
#include "core/tiled_layers.h"

namespace beit {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Values that one call of a kernel works on: small enough to stay in the cache, large enough to share out.
constexpr int64_t kGrain = 16384;

/// x W^T + b by oneDNN, [M, D] to [M, F]; `gelu`: of the result. The matrices may be transposed views.
Tensor onednn_product(const Tensor& x_MD, const Tensor& weight_FD, const Tensor& bias_F = {}, bool gelu = false) {
  using Signature = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, c10::string_view,
                           c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);
  static const auto op = onednn_op<Signature>("mkldnn::_linear_pointwise");
  return op.call(x_MD, weight_FD, bias_F.defined() ? std::optional(bias_F) : std::nullopt, gelu ? "gelu" : "none",
                 c10::List<std::optional<at::Scalar>>(), gelu ? "none" : "");
}

/// Whether products in float32 go to oneDNN rather than to LibTorch's own choice: on AMD's processors with AVX-512,
/// where MKL keeps to narrower vectors.
bool prefers_onednn() {
#if defined(__x86_64__)
  static const bool prefers = __builtin_cpu_is("amd") && at::get_cpu_capability() == "AVX512";
  return prefers && has_onednn();
#else
  return false;
#endif
}

Tensor rows_of(const Tensor& x) { return x.reshape({-1, x.size(-1)}); }

Tensor shaped_as(const Tensor& rows_MF, const Tensor& x) {
  auto sizes = x.sizes().vec();
  sizes.back() = rows_MF.size(1);
  return rows_MF.view(sizes);
}

/// Gradient of product() by its weights.
Tensor weight_gradient(const Tensor& grad_MF, const Tensor& x_MD) { return at::mm(grad_MF.t(), x_MD); }

/// Float32 on the CPU, no autocast, and sizes that fit: what the functions here are made for. All else is LibTorch's,
/// which also says what does not fit.
bool is_plain(const Tensor& x, const Tensor& weight_FD, const Tensor& bias_F) {
  return is_cpu_float32(x) && x.numel() > 0 && is_cpu_float32(weight_FD) && weight_FD.dim() == 2 &&
         weight_FD.size(1) == x.size(-1) &&
         (!bias_F.defined() || (is_cpu_float32(bias_F) && bias_F.sizes() == torch::IntArrayRef({weight_FD.size(0)}))) &&
         !at::autocast::is_autocast_enabled(torch::kCPU);
}

Tensor bias_or_zeros(const Tensor& weight_FD, const Tensor& bias_F) {
  return bias_F.defined() ? bias_F : torch::zeros({weight_FD.size(0)}, weight_FD.options());
}

void gelu(const Tensor& x, Tensor& y) {
  parallel_for(0, x.numel(), kGrain,
               [&, from = x.const_data_ptr<float>(), to = y.mutable_data_ptr<float>()](int64_t begin, int64_t end) {
                 kernels().gelu(from + begin, to + begin, end - begin);
               });
}

/// y = gelu(x), and `grad`, that of y, becomes that of x.
void gelu_backward(const Tensor& x, Tensor& grad, Tensor& y) {
  parallel_for(0, x.numel(), kGrain,
               [from = x.const_data_ptr<float>(), grads = grad.mutable_data_ptr<float>(),
                to = y.mutable_data_ptr<float>()](int64_t begin, int64_t end) {
                 kernels().gelu_backward(from + begin, grads + begin, grads + begin, to + begin, end - begin);
               });
}

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight_FD, const Tensor& bias_F) {
    context->save_for_backward({x, weight_FD});
    return shaped_as(product(rows_of(x), weight_FD, bias_F), x);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    refuse_gradients_of_gradients("linear");
    const auto saved = context->get_saved_variables();
    const auto grad_MF = rows_of(gradients[0]);
    variable_list result(3);
    if (context->needs_input_grad(0)) result[0] = shaped_as(product(grad_MF, saved[1].t()), saved[0]);
    if (context->needs_input_grad(1)) result[1] = weight_gradient(grad_MF, rows_of(saved[0]));
    if (context->needs_input_grad(2)) result[2] = grad_MF.sum(0);
    return result;
  }
};

struct GeluMlpFunction : torch::autograd::Function<GeluMlpFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight1_HD, const Tensor& bias1_H,
                        const Tensor& weight2_FH, const Tensor& bias2_F) {
    const auto hidden_MH = product(rows_of(x), weight1_HD, bias1_H);
    auto active_MH = at::empty_like(hidden_MH);
    gelu(hidden_MH, active_MH);
    context->save_for_backward({x, weight1_HD, weight2_FH, hidden_MH});
    return shaped_as(product(active_MH, weight2_FH, bias2_F), x);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    refuse_gradients_of_gradients("mlp");
    const auto saved = context->get_saved_variables();
    const auto grad_MF = rows_of(gradients[0]);
    auto active_MH = at::empty_like(saved[3]), grad_MH = product(grad_MF, saved[2].t());
    gelu_backward(saved[3], grad_MH, active_MH);
    const auto wants = [&](size_t i) { return context->needs_input_grad(i); };
    variable_list result(5);
    if (wants(0)) result[0] = shaped_as(product(grad_MH, saved[1].t()), saved[0]);
    if (wants(1)) result[1] = weight_gradient(grad_MH, rows_of(saved[0]));
    if (wants(2)) result[2] = grad_MH.sum(0);
    if (wants(3)) result[3] = weight_gradient(grad_MF, active_MH);
    if (wants(4)) result[4] = grad_MF.sum(0);
    return result;
  }
};

}  // namespace

Tensor product(const Tensor& x_MD, const Tensor& weight_FD, const Tensor& bias_F) {
  return prefers_onednn() ? onednn_product(x_MD, weight_FD, bias_F) : at::linear(x_MD, weight_FD, bias_F);
}

Tensor linear(const Tensor& x, const Tensor& weight_FD, const Tensor& bias_F) {
  const bool tiled = suits_tiles(weight_FD.numel());
  if (!is_plain(x, weight_FD, bias_F) || !(tiled || prefers_onednn())) return torch::linear(x, weight_FD, bias_F);
  const auto bias = bias_or_zeros(weight_FD, bias_F);
  if (tiled) return shaped_as(tiled_linear(rows_of(x), weight_FD, bias), x);
  if (wants_gradient({x, weight_FD, bias})) return LinearFunction::apply(x, weight_FD, bias);
  return shaped_as(onednn_product(rows_of(x), weight_FD, bias), x);
}

Tensor gelu_mlp(const Tensor& x, const torch::nn::Linear& fc1_HD, const torch::nn::Linear& fc2_FH) {
  const auto &weight1_HD = fc1_HD->weight, &weight2_FH = fc2_FH->weight;
  const bool fits = is_plain(x, weight1_HD, fc1_HD->bias) && is_plain(weight1_HD.t(), weight2_FH, fc2_FH->bias);
  if (!fits) return linear(torch::gelu(linear(x, fc1_HD)), fc2_FH);
  const auto bias1_H = bias_or_zeros(weight1_HD, fc1_HD->bias), bias2_F = bias_or_zeros(weight2_FH, fc2_FH->bias);
  if (wants_gradient({x, weight1_HD, bias1_H, weight2_FH, bias2_F})) {
    return GeluMlpFunction::apply(x, weight1_HD, bias1_H, weight2_FH, bias2_F);
  }
  if (prefers_onednn()) {
    const auto active_MH = onednn_product(rows_of(x), weight1_HD, bias1_H, /*gelu=*/true);
    return shaped_as(onednn_product(active_MH, weight2_FH, bias2_F), x);
  }
  auto hidden_MH = at::linear(rows_of(x), weight1_HD, bias1_H);
  gelu(hidden_MH, hidden_MH);
  return shaped_as(at::linear(hidden_MH, weight2_FH, bias2_F), x);
}

ScaledLayer scaled(const torch::nn::Linear& layer, const Tensor& scale_F) {
  if (!scale_F.defined()) return {layer->weight, layer->bias};
  return {layer->weight * scale_F.unsqueeze(1), layer->bias * scale_F};
}

Tensor linear(const Tensor& x, const torch::nn::Linear& layer, const Tensor& scale_F) {
  const auto [weight_FD, bias_F] = scaled(layer, scale_F);
  return linear(x, weight_FD, bias_F);
}

}  // namespace beit
