// Shape letters: B images, T tokens, D width, H hidden width, h heads, M rows, R rows of a tile, P parts, one a thread.
#include "core/tiled_branches.h"

#include <ATen/autocast_mode.h>

#include "core/cpu_float32.h"
#include "core/first_gradients.h"
#include "core/linear.h"
#include "core/tiled_layers.h"
#include "core/tiles.h"

namespace beit {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kEps = "eps", kHeads = "heads";

RowNorm row_norm(const Tensor& weight_D, const Tensor& bias_D, double eps) {
  return {weight_D.size(0), static_cast<float>(eps), in(weight_D), in(bias_D)};
}

/// to = x + bias, row by row.
void add_bias(const float* x, const float* bias, int64_t rows, int64_t width, float* to) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < width; ++i) to[r * width + i] = x[r * width + i] + bias[i];
  }
}

struct MlpWeights {
  Tensor norm_D, norm_bias_D, weight1_HD, bias1_H, weight2_DH, bias2_D;
  double eps;
};

/// Writes what goes into the GELU, [M, H], where that is to be kept.
Tensor mlp_branch(const Tensor& x, const MlpWeights& w, const Tensor& hidden_MH) {
  const int64_t width = w.weight1_HD.size(1), hidden = w.weight1_HD.size(0);
  const auto weight1_DH = transposed(w.weight1_HD), weight2_HD = transposed(w.weight2_DH);
  const auto norm = row_norm(w.norm_D, w.norm_bias_D, w.eps);
  const Parts parts(x.numel() / width);
  const auto y = at::empty_like(x);
  const Scratch scratch(parts.count, {kTileRows * width, kTileRows * hidden, kTileRows * hidden});
  parts.for_each_tile([&](int64_t part, int64_t first, int64_t rows) {
    const float* const from = in(x) + first * width;
    float *const normed = scratch(part, 0), *const active = scratch(part, 1), *const to = out(y) + first * width,
                 *const h = hidden_MH.defined() ? out(hidden_MH) + first * hidden : scratch(part, 2);
    kernels().layer_norm(norm, from, rows, normed, nullptr);
    fill_rows(in(w.bias1_H), rows, hidden, h);
    multiply(rows, hidden, width, normed, in(weight1_DH), h);
    kernels().gelu(h, active, rows * hidden);
    add_bias(from, in(w.bias2_D), rows, width, to);
    multiply(rows, width, hidden, active, in(weight2_HD), to);
  });
  return y;
}

struct MlpBranch : torch::autograd::Function<MlpBranch> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& norm_D, const Tensor& norm_bias_D,
                        const Tensor& weight1_HD, const Tensor& bias1_H, const Tensor& weight2_DH,
                        const Tensor& bias2_D, double eps) {
    const auto hidden_MH = at::empty({x.numel() / x.size(-1), weight1_HD.size(0)}, x.options());
    context->save_for_backward({x, norm_D, norm_bias_D, weight1_HD, weight2_DH, hidden_MH});
    context->saved_data[kEps] = eps;
    return mlp_branch(x, {norm_D, norm_bias_D, weight1_HD, bias1_H, weight2_DH, bias2_D, eps}, hidden_MH);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    refuse_gradients_of_gradients("block");
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight1_HD = saved[3], &weight2_DH = saved[4], &hidden_MH = saved[5];
    const auto norm = row_norm(saved[1], saved[2], context->saved_data[kEps].toDouble());
    const auto grad_y = gradients[0].contiguous();
    const int64_t width = weight1_HD.size(1), hidden = weight1_HD.size(0);
    const Parts parts(x.numel() / width);
    const auto grad_x = at::empty_like(x);
    // That of the first layer the other way round, so that the narrow side is transposed.
    const PartSums norm_D(parts.count, {width}), norm_bias_D(parts.count, {width}),
        grad1_DH(parts.count, {width, hidden}), bias1_H(parts.count, {hidden}), grad2_DH(parts.count, {width, hidden}),
        bias2_D(parts.count, {width});
    const Scratch scratch(
        parts.count, {kTileRows * hidden, kTileRows * hidden, kTileRows * width, kTileRows * width, 2 * kTileRows});
    parts.for_each_tile([&](int64_t part, int64_t first, int64_t rows) {
      float *const grad_hidden = scratch(part, 0), *const active = scratch(part, 1), *const normed = scratch(part, 2),
                   *const turned = scratch(part, 3), *const moments = scratch(part, 4);
      const float *const from = in(x) + first * width, *const grad = in(grad_y) + first * width;
      multiply(rows, hidden, width, grad, in(weight2_DH), grad_hidden, Into::kNew);
      kernels().gelu_backward(in(hidden_MH) + first * hidden, grad_hidden, grad_hidden, active, rows * hidden);
      kernels().transpose(grad, rows, width, turned);
      multiply(width, hidden, rows, turned, active, grad2_DH[part]);
      add_rows(grad, rows, width, bias2_D[part]);
      kernels().layer_norm(norm, from, rows, normed, moments);
      kernels().transpose(normed, rows, width, turned);
      multiply(width, hidden, rows, turned, grad_hidden, grad1_DH[part]);
      add_rows(grad_hidden, rows, hidden, bias1_H[part]);
      multiply(rows, width, hidden, grad_hidden, in(weight1_HD), normed, Into::kNew);
      kernels().layer_norm_backward(norm, from, moments, rows, normed, grad, out(grad_x) + first * width, norm_D[part],
                                    norm_bias_D[part]);
    });
    return {grad_x,        norm_D.sum(),   norm_bias_D.sum(), transposed(grad1_DH.sum()),
            bias1_H.sum(), grad2_DH.sum(), bias2_D.sum(),     {}};
  }
};

struct AttentionWeights {
  Tensor norm_D, norm_bias_D, qkv_weight, qkv_bias, proj_DD, proj_bias_D, bias_hTT;
  int64_t heads;
  double eps;
};

/// Where one image's query, key and value of one head lie in [T, 3D].
template <class Rows, class Number>
Rows part_of(Number* qkv, int64_t width, int64_t which, int64_t column) {
  return {qkv + which * width + column, 3 * width};
}

AttentionHead head_of(const float* qkv_T3D, int64_t tokens, int64_t width, int64_t heads, int64_t head,
                      const Tensor& bias_hTT, const Tensor& order_T) {
  const int64_t column = head * (width / heads);
  return {.queries = tokens,
          .tokens = tokens,
          .width = width / heads,
          .q = part_of<ConstRows>(qkv_T3D, width, 0, column),
          .k = part_of<ConstRows>(qkv_T3D, width, 1, column),
          .v = part_of<ConstRows>(qkv_T3D, width, 2, column),
          .bias = bias_hTT.defined() ? in(bias_hTT) + head * tokens * tokens : nullptr,
          .bias_rows = order_T.const_data_ptr<int64_t>()};
}

/// What the backward pass reads: [B, T, 3D], [B, T, D] and [B, h, T].
struct AttentionKept {
  Tensor qkv, attended_BTD, log_sums_BhT;
};

Tensor attention_branch(const Tensor& x_BTD, const AttentionWeights& w, const std::optional<AttentionKept>& kept) {
  const int64_t images = x_BTD.size(0), tokens = x_BTD.size(1), width = x_BTD.size(2);
  const auto qkv_weight_D3D = transposed(w.qkv_weight), proj_DD = transposed(w.proj_DD);
  const auto norm = row_norm(w.norm_D, w.norm_bias_D, w.eps);
  const Parts parts(images);
  const auto y_BTD = at::empty_like(x_BTD), order_T = at::arange(tokens);
  const Scratch scratch(parts.count, {tokens * width, 3 * tokens * width, tokens * width, w.heads * tokens,
                                      kernels().attention_scratch(tokens, width / w.heads)});
  parts.for_each([&](int64_t part, int64_t image) {
    const float* const from = in(x_BTD) + image * tokens * width;
    float *const normed = scratch(part, 0),
                 *const qkv = kept ? out(kept->qkv) + image * 3 * tokens * width : scratch(part, 1),
                 *const attended = kept ? out(kept->attended_BTD) + image * tokens * width : scratch(part, 2),
                 *const log_sums = kept ? out(kept->log_sums_BhT) + image * w.heads * tokens : scratch(part, 3),
                 *const to = out(y_BTD) + image * tokens * width;
    kernels().layer_norm(norm, from, tokens, normed, nullptr);
    fill_rows(in(w.qkv_bias), tokens, 3 * width, qkv);
    multiply(tokens, 3 * width, width, normed, in(qkv_weight_D3D), qkv);
    for (int64_t head = 0; head < w.heads; ++head) {
      kernels().attention(head_of(qkv, tokens, width, w.heads, head, w.bias_hTT, order_T),
                          {attended + head * (width / w.heads), width}, log_sums + head * tokens, scratch(part, 4));
    }
    add_bias(from, in(w.proj_bias_D), tokens, width, to);
    multiply(tokens, width, width, attended, in(proj_DD), to);
  });
  return y_BTD;
}

struct AttentionBranch : torch::autograd::Function<AttentionBranch> {
  static Tensor forward(AutogradContext* context, const Tensor& x_BTD, const Tensor& norm_D, const Tensor& norm_bias_D,
                        const Tensor& qkv_weight, const Tensor& qkv_bias, const Tensor& proj_DD,
                        const Tensor& proj_bias_D, const std::optional<Tensor>& bias, int64_t heads, double eps) {
    const int64_t images = x_BTD.size(0), tokens = x_BTD.size(1), width = x_BTD.size(2);
    const auto bias_hTT = bias.value_or(Tensor());
    const AttentionKept kept{.qkv = at::empty({images, tokens, 3 * width}, x_BTD.options()),
                             .attended_BTD = at::empty_like(x_BTD),
                             .log_sums_BhT = at::empty({images, heads, tokens}, x_BTD.options())};
    context->save_for_backward(
        {x_BTD, norm_D, norm_bias_D, qkv_weight, proj_DD, bias_hTT, kept.qkv, kept.attended_BTD, kept.log_sums_BhT});
    context->saved_data[kHeads] = heads;
    context->saved_data[kEps] = eps;
    return attention_branch(
        x_BTD, {norm_D, norm_bias_D, qkv_weight, qkv_bias, proj_DD, proj_bias_D, bias_hTT, heads, eps}, kept);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    refuse_gradients_of_gradients("block");
    const auto saved = context->get_saved_variables();
    const auto &x_BTD = saved[0], &qkv_weight = saved[3], &proj_DD = saved[4], &bias_hTT = saved[5];
    const auto norm = row_norm(saved[1], saved[2], context->saved_data[kEps].toDouble());
    const int64_t heads = context->saved_data[kHeads].toInt();
    const auto grad_y_BTD = gradients[0].contiguous();
    const int64_t images = x_BTD.size(0), tokens = x_BTD.size(1), width = x_BTD.size(2), size = tokens * width;
    const bool biased = bias_hTT.defined() && context->needs_input_grad(7);
    const Parts parts(images);
    const auto grad_x_BTD = at::empty_like(x_BTD), order_T = at::arange(tokens);
    const PartSums norm_D(parts.count, {width}), norm_bias_D(parts.count, {width}),
        grad_qkv_D3D(parts.count, {width, 3 * width}), qkv_bias(parts.count, {3 * width}),
        grad_proj_DD(parts.count, {width, width}), proj_bias_D(parts.count, {width}),
        grad_bias_hTT(parts.count, {biased ? heads : 0, tokens, tokens});
    const Scratch scratch(parts.count,
                          {3 * size, size, size, 2 * tokens, kernels().attention_scratch(tokens, width / heads)});
    parts.for_each([&](int64_t part, int64_t image) {
      float *const grad_qkv = scratch(part, 0), *const rows = scratch(part, 1), *const turned = scratch(part, 2),
                   *const moments = scratch(part, 3);
      const float *const from = in(x_BTD) + image * size, *const grad = in(grad_y_BTD) + image * size,
                         *const qkv = in(saved[6]) + image * 3 * size, *const attended = in(saved[7]) + image * size,
                         *const log_sums = in(saved[8]) + image * heads * tokens;
      kernels().transpose(grad, tokens, width, turned);
      multiply(width, width, tokens, turned, attended, grad_proj_DD[part]);
      add_rows(grad, tokens, width, proj_bias_D[part]);
      multiply(tokens, width, width, grad, in(proj_DD), rows, Into::kNew);
      for (int64_t head = 0; head < heads; ++head) {
        const int64_t column = head * (width / heads);
        kernels().attention_backward(head_of(qkv, tokens, width, heads, head, bias_hTT, order_T),
                                     log_sums + head * tokens, {rows + column, width},
                                     {.q = part_of<Rows>(grad_qkv, width, 0, column),
                                      .k = part_of<Rows>(grad_qkv, width, 1, column),
                                      .v = part_of<Rows>(grad_qkv, width, 2, column),
                                      .bias = biased ? grad_bias_hTT[part] + head * tokens * tokens : nullptr},
                                     scratch(part, 4));
      }
      kernels().layer_norm(norm, from, tokens, rows, moments);
      kernels().transpose(rows, tokens, width, turned);
      multiply(width, 3 * width, tokens, turned, grad_qkv, grad_qkv_D3D[part]);
      add_rows(grad_qkv, tokens, 3 * width, qkv_bias[part]);
      multiply(tokens, width, 3 * width, grad_qkv, in(qkv_weight), rows, Into::kNew);
      kernels().layer_norm_backward(norm, from, moments, tokens, rows, grad, out(grad_x_BTD) + image * size,
                                    norm_D[part], norm_bias_D[part]);
    });
    return {grad_x_BTD,
            norm_D.sum(),
            norm_bias_D.sum(),
            transposed(grad_qkv_D3D.sum()),
            qkv_bias.sum(),
            grad_proj_DD.sum(),
            proj_bias_D.sum(),
            biased ? grad_bias_hTT.sum() : Tensor(),
            {},
            {}};
  }
};

bool is_plain(const Tensor& x) {
  return is_cpu_float32(x) && x.numel() > 0 && !at::autocast::is_autocast_enabled(torch::kCPU);
}

}  // namespace

bool suits_tiled_mlp(const Tensor& x_BTD, int64_t hidden) {
  return is_plain(x_BTD) && suits_tiles(2 * hidden * x_BTD.size(2));
}

bool suits_tiled_attention(const Tensor& x_BTD) {
  const int64_t images = x_BTD.size(0), tokens = x_BTD.size(1), width = x_BTD.size(2), threads = at::get_num_threads();
  const bool shared_out = images % threads == 0 || images >= 8 * threads;
  return is_plain(x_BTD) && shared_out && suits_tiles(4 * width * width) && suits_tiles(3 * tokens * width);
}

Tensor tiled_mlp_branch(const Tensor& x_BTD, const torch::nn::LayerNorm& norm, const torch::nn::Linear& fc1_HD,
                        const torch::nn::Linear& fc2_DH, const Tensor& scale_D) {
  const auto x = x_BTD.contiguous();
  const ScaledLayer fc2 = scaled(fc2_DH, scale_D);
  const MlpWeights w{norm->weight,
                     norm->bias,
                     fc1_HD->weight.contiguous(),
                     fc1_HD->bias.contiguous(),
                     fc2.weight_FD.contiguous(),
                     fc2.bias_F.contiguous(),
                     norm->options.eps()};
  if (!wants_gradient({x, w.norm_D, w.norm_bias_D, w.weight1_HD, w.bias1_H, w.weight2_DH, w.bias2_D}))
    return mlp_branch(x, w, {});
  return MlpBranch::apply(x, w.norm_D, w.norm_bias_D, w.weight1_HD, w.bias1_H, w.weight2_DH, w.bias2_D, w.eps);
}

Tensor tiled_attention_branch(const Tensor& x_BTD, const torch::nn::LayerNorm& norm, const Tensor& qkv_weight,
                              const Tensor& qkv_bias, const torch::nn::Linear& proj_DD, const Tensor& scale_D,
                              int64_t heads, const Tensor& bias_hTT) {
  const auto x = x_BTD.contiguous();
  const ScaledLayer proj = scaled(proj_DD, scale_D);
  const AttentionWeights w{norm->weight,
                           norm->bias,
                           qkv_weight.contiguous(),
                           qkv_bias.contiguous(),
                           proj.weight_FD.contiguous(),
                           proj.bias_F.contiguous(),
                           bias_hTT.defined() ? bias_hTT.contiguous() : bias_hTT,
                           heads,
                           norm->options.eps()};
  if (!wants_gradient({x, w.norm_D, w.norm_bias_D, w.qkv_weight, w.qkv_bias, w.proj_DD, w.proj_bias_D, w.bias_hTT}))
    return attention_branch(x, w, {});
  return AttentionBranch::apply(x, w.norm_D, w.norm_bias_D, w.qkv_weight, w.qkv_bias, w.proj_DD, w.proj_bias_D,
                                w.bias_hTT.defined() ? std::optional(w.bias_hTT) : std::nullopt, heads, w.eps);
}

}  // namespace beit
