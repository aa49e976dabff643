// Shape letters: M rows, R rows of a tile, D inputs, H hidden width, F outputs, P parts, one a thread.
#include "core/tiled_layers.h"

#include <ATen/Version.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>

#include "base/parallel.h"
#include "core/first_gradients.h"
#include "core/kernels.h"

namespace beit {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kTileRows = 64;
constexpr int64_t kMostWeights = 192 * 1024;  // three quarters of a MiB of a core's cache

const float* in(const Tensor& x) { return x.const_data_ptr<float>(); }
float* out(const Tensor& x) { return x.mutable_data_ptr<float>(); }

/// c += a b on this thread: [rows, depth] times [depth, columns], all row by row without gaps.
void multiply_add(int64_t rows, int64_t columns, int64_t depth, const float* a, const float* b, float* c) {
  at::native::cpublas::brgemm(rows, columns, depth, depth, columns, columns, /*add_C=*/true, a, b, c,
                              /*is_vnni=*/false);
}

void fill_rows(const float* row, int64_t rows, int64_t columns, float* to) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(row, columns, to + r * columns);
}

void transpose(const float* from, int64_t rows, int64_t columns, float* to) {
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t r = 0; r < rows; ++r) to[c * rows + r] = from[r * columns + c];
  }
}

/// How the rows are cut: each part goes through its tiles on a thread of its own, so that what a part sums up does not
/// depend on which thread is first.
struct Tiles {
  int64_t rows, count, parts;

  explicit Tiles(int64_t all_rows)
      : rows(all_rows),
        count((all_rows + kTileRows - 1) / kTileRows),
        parts(std::min<int64_t>(at::get_num_threads(), count)) {}

  /// visit(part, first row, rows) for each tile.
  template <class Visit>
  void for_each(const Visit& visit) const {
    parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        for (int64_t tile = part * count / parts; tile < (part + 1) * count / parts; ++tile) {
          visit(part, tile * kTileRows, std::min(kTileRows, rows - tile * kTileRows));
        }
      }
      at::native::cpublas::brgemm_release(/*is_vnni=*/false);
    });
  }
};

struct TiledLinear : torch::autograd::Function<TiledLinear> {
  static Tensor forward(AutogradContext* context, const Tensor& x_MD, const Tensor& weight_FD, const Tensor& bias_F) {
    const int64_t inputs = weight_FD.size(1), outputs = weight_FD.size(0);
    const auto weight_DF = weight_FD.t().contiguous();
    const Tiles tiles(x_MD.size(0));
    const auto y_MF = at::empty({tiles.rows, outputs}, x_MD.options());
    tiles.for_each([&](int64_t /*part*/, int64_t first, int64_t rows) {
      float* const y = out(y_MF) + first * outputs;
      fill_rows(in(bias_F), rows, outputs, y);
      multiply_add(rows, outputs, inputs, in(x_MD) + first * inputs, in(weight_DF), y);
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
    const Tiles tiles(x_MD.size(0));
    const auto zeros = [&](at::IntArrayRef sizes) { return at::zeros(sizes, x_MD.options()); };
    const bool wants_x = context->needs_input_grad(0), wants_weight = context->needs_input_grad(1);
    const auto grad_x_MD = wants_x ? zeros({tiles.rows, inputs}) : Tensor();
    const auto grad_PDF = zeros({tiles.parts, inputs, outputs}), grad_bias_PF = zeros({tiles.parts, outputs});
    const auto x_PDR = at::empty({tiles.parts, inputs, kTileRows}, x_MD.options()),
               ones_R = at::ones({kTileRows}, x_MD.options());
    tiles.for_each([&](int64_t part, int64_t first, int64_t rows) {
      const float* const grad = in(grad_MF) + first * outputs;
      float* const x_DR = out(x_PDR) + part * inputs * kTileRows;
      if (wants_x) multiply_add(rows, inputs, outputs, grad, in(weight_FD), out(grad_x_MD) + first * inputs);
      if (wants_weight) {
        transpose(in(x_MD) + first * inputs, rows, inputs, x_DR);
        multiply_add(inputs, outputs, rows, x_DR, grad, out(grad_PDF) + part * inputs * outputs);
      }
      multiply_add(1, outputs, rows, in(ones_R), grad, out(grad_bias_PF) + part * outputs);
    });
    return {grad_x_MD, grad_PDF.sum(0).t().contiguous(), grad_bias_PF.sum(0)};
  }
};

/// [M, H] before the GELU, and [M, F].
struct Passed {
  Tensor hidden_MH, y_MF;
};

Passed forward_pass(const Tensor& x_MD, const Tensor& weight1_HD, const Tensor& bias1_H, const Tensor& weight2_FH,
                    const Tensor& bias2_F) {
  const int64_t inputs = weight1_HD.size(1), hidden = weight1_HD.size(0), outputs = weight2_FH.size(0);
  const auto weight1_DH = weight1_HD.t().contiguous(), weight2_HF = weight2_FH.t().contiguous();
  const Tiles tiles(x_MD.size(0));
  const Passed found{at::empty({tiles.rows, hidden}, x_MD.options()), at::empty({tiles.rows, outputs}, x_MD.options())};
  const auto active_PRH = at::empty({tiles.parts, kTileRows, hidden}, x_MD.options());
  tiles.for_each([&](int64_t part, int64_t first, int64_t rows) {
    float *const h = out(found.hidden_MH) + first * hidden, *const active = out(active_PRH) + part * kTileRows * hidden,
                 *const y = out(found.y_MF) + first * outputs;
    fill_rows(in(bias1_H), rows, hidden, h);
    multiply_add(rows, hidden, inputs, in(x_MD) + first * inputs, in(weight1_DH), h);
    kernels().gelu(h, active, rows * hidden);
    fill_rows(in(bias2_F), rows, outputs, y);
    multiply_add(rows, outputs, hidden, active, in(weight2_HF), y);
  });
  return found;
}

struct TiledMlp : torch::autograd::Function<TiledMlp> {
  static Tensor forward(AutogradContext* context, const Tensor& x_MD, const Tensor& weight1_HD, const Tensor& bias1_H,
                        const Tensor& weight2_FH, const Tensor& bias2_F) {
    const auto found = forward_pass(x_MD, weight1_HD, bias1_H, weight2_FH, bias2_F);
    context->save_for_backward({x_MD, weight1_HD, weight2_FH, found.hidden_MH});
    return found.y_MF;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    refuse_gradients_of_gradients("mlp");
    const auto saved = context->get_saved_variables();
    const auto &x_MD = saved[0], &weight1_HD = saved[1], &weight2_FH = saved[2], &hidden_MH = saved[3];
    const auto grad_MF = gradients[0].contiguous();
    const int64_t inputs = weight1_HD.size(1), hidden = weight1_HD.size(0), outputs = weight2_FH.size(0);
    const Tiles tiles(x_MD.size(0));
    const auto zeros = [&](at::IntArrayRef sizes) { return at::zeros(sizes, x_MD.options()); };
    const auto grad_x_MD = zeros({tiles.rows, inputs});
    // Each part's sums; those of the first layer's weights the other way round, so that the narrow side is transposed.
    const auto grad1_PDH = zeros({tiles.parts, inputs, hidden}), grad2_PFH = zeros({tiles.parts, outputs, hidden}),
               grad_bias1_PH = zeros({tiles.parts, hidden});
    const auto scratch = at::empty({tiles.parts, kTileRows * (2 * hidden + inputs + outputs)}, x_MD.options());
    const auto ones_R = at::ones({kTileRows}, x_MD.options());
    const bool wants_weights = context->needs_input_grad(1) || context->needs_input_grad(3);
    tiles.for_each([&](int64_t part, int64_t first, int64_t rows) {
      float* const grad_hidden = out(scratch) + part * scratch.size(1);
      float* const active = grad_hidden + kTileRows * hidden;
      float* const x_DR = active + kTileRows * hidden;
      float* const grad_FR = x_DR + kTileRows * inputs;
      const float* const grad = in(grad_MF) + first * outputs;
      std::fill_n(grad_hidden, rows * hidden, 0.0F);
      multiply_add(rows, hidden, outputs, grad, in(weight2_FH), grad_hidden);
      kernels().gelu_backward(in(hidden_MH) + first * hidden, grad_hidden, grad_hidden, active, rows * hidden);
      multiply_add(rows, inputs, hidden, grad_hidden, in(weight1_HD), out(grad_x_MD) + first * inputs);
      if (wants_weights) {
        transpose(in(x_MD) + first * inputs, rows, inputs, x_DR);
        transpose(grad, rows, outputs, grad_FR);
        multiply_add(inputs, hidden, rows, x_DR, grad_hidden, out(grad1_PDH) + part * inputs * hidden);
        multiply_add(outputs, hidden, rows, grad_FR, active, out(grad2_PFH) + part * outputs * hidden);
      }
      multiply_add(1, hidden, rows, in(ones_R), grad_hidden, out(grad_bias1_PH) + part * hidden);
    });
    return {grad_x_MD, grad1_PDH.sum(0).t().contiguous(), grad_bias1_PH.sum(0), grad2_PFH.sum(0), grad_MF.sum(0)};
  }
};

}  // namespace

bool suits_tiles(int64_t numbers) {
#if defined(__x86_64__)
  static const bool has_products = at::get_cpu_capability() == "AVX2" || at::get_cpu_capability() == "AVX512";
  return has_products && at::hasMKLDNN() && at::globalContext().userEnabledMkldnn() && numbers <= kMostWeights;
#else
  return false;
#endif
}

Tensor tiled_linear(const Tensor& x_MD, const Tensor& weight_FD, const Tensor& bias_F) {
  return TiledLinear::apply(x_MD.contiguous(), weight_FD.contiguous(), bias_F.contiguous());
}

Tensor tiled_mlp(const Tensor& x_MD, const Tensor& weight1_HD, const Tensor& bias1_H, const Tensor& weight2_FH,
                 const Tensor& bias2_F) {
  return TiledMlp::apply(x_MD.contiguous(), weight1_HD.contiguous(), bias1_H.contiguous(), weight2_FH.contiguous(),
                         bias2_F.contiguous());
}

}  // namespace beit
