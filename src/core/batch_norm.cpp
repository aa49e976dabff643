#include "core/batch_norm.h"

#include <utility>

#include "base/error.h"
#include "core/first_gradients.h"
#include "core/full_precision.h"

namespace beit {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kEps = 1e-5, kMomentum = 0.1;
constexpr auto kRanks = "ranks";

torch::Tensor by_channel(const torch::Tensor& x_C) { return x_C.view({1, -1, 1, 1}); }

/// Of each channel over all ranks; the variance with n in the denominator.
struct Moments {
  torch::Tensor count_1, mean_C, var_C;
};

/// Each rank's own mean and variance go to all in one sum, to places of their own: no difference of large sums.
Moments moments_over(const Ranks& ranks, const torch::Tensor& x_BCHW) {
  const int64_t channels = x_BCHW.size(1);
  const auto [var_C, mean_C] = torch::var_mean(x_BCHW, at::IntArrayRef{0, 2, 3}, /*unbiased=*/false);
  auto all = torch::zeros({ranks.size, 1 + 2 * channels}, x_BCHW.options());  // a row: count, mean, variance
  auto own = all[ranks.rank];
  own[0].fill_(static_cast<double>(x_BCHW.numel() / channels));
  own.slice(0, 1, 1 + channels).copy_(mean_C);
  own.slice(0, 1 + channels).copy_(var_C);
  ranks.sum(all);

  const auto count_R1 = all.slice(1, 0, 1);
  const auto mean_RC = all.slice(1, 1, 1 + channels), var_RC = all.slice(1, 1 + channels);
  Moments found;
  found.count_1 = count_R1.sum(0);
  found.mean_C = (mean_RC * count_R1).sum(0) / found.count_1;
  found.var_C = ((var_RC + (mean_RC - found.mean_C).square()) * count_R1).sum(0) / found.count_1;
  return found;
}

/// What the backward pass takes beside the saved tensors.
struct HeldRanks : torch::CustomClassHolder {
  Ranks ranks;
};

/// Normalisation by moments that follow from x on all ranks.
struct Normalise : torch::autograd::Function<Normalise> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x_BCHW, const torch::Tensor& weight_C,
                               const torch::Tensor& bias_C, const Moments& moments,
                               const c10::intrusive_ptr<HeldRanks>& ranks) {
    const auto inverse_std_C = (moments.var_C + kEps).rsqrt();
    context->save_for_backward({x_BCHW, weight_C, moments.mean_C, inverse_std_C, moments.count_1});
    context->saved_data[kRanks] = c10::IValue::make_capsule(ranks);
    const auto scale_C = weight_C * inverse_std_C;
    const auto shift_C = bias_C - moments.mean_C * scale_C;
    return torch::addcmul(by_channel(shift_C), at_least_float32(x_BCHW), by_channel(scale_C)).to(x_BCHW.dtype());
  }

  static variable_list backward(AutogradContext* context, const variable_list& output_gradients) {
    refuse_gradients_of_gradients("batch norm", "use one rank");
    const auto ranks = c10::static_intrusive_pointer_cast<HeldRanks>(context->saved_data.at(kRanks).toCapsule());
    const auto saved = context->get_saved_variables();
    const auto &x_BCHW = saved[0], &weight_C = saved[1], &mean_C = saved[2], &inverse_std_C = saved[3],
               &count_1 = saved[4];
    const FullPrecision full_precision;
    const auto gradient_BCHW = at_least_float32(output_gradients[0]);
    auto unit_BCHW = (at_least_float32(x_BCHW) - by_channel(mean_C)) * by_channel(inverse_std_C);
    const auto bias_gradient_C = gradient_BCHW.sum({0, 2, 3});
    const auto weight_gradient_C = (gradient_BCHW * unit_BCHW).sum({0, 2, 3});
    auto sums_2C = torch::stack({bias_gradient_C, weight_gradient_C});
    ranks->ranks.sum(sums_2C);
    const auto means_2C = sums_2C / count_1;
    const auto x_gradient_BCHW = (gradient_BCHW - by_channel(means_2C[0]))
                                     .sub_(unit_BCHW.mul_(by_channel(means_2C[1])))
                                     .mul_(by_channel(weight_C * inverse_std_C));
    return {x_gradient_BCHW.to(x_BCHW.dtype()), weight_gradient_C, bias_gradient_C, {}, {}};
  }
};

}  // namespace

BatchNormImpl::BatchNormImpl(int64_t channels, Ranks ranks) : ranks_(std::move(ranks)) {
  weight_C_ = register_parameter("weight", torch::ones({channels}));
  bias_C_ = register_parameter("bias", torch::zeros({channels}));
  running_mean_C_ = register_buffer("running_mean", torch::zeros({channels}));
  running_var_C_ = register_buffer("running_var", torch::ones({channels}));
  num_batches_tracked_ = register_buffer("num_batches_tracked", torch::tensor(0, torch::kInt64));
}

torch::Tensor BatchNormImpl::forward(const torch::Tensor& x_BCHW) {
  require(x_BCHW.dim() == 4 && x_BCHW.size(1) == weight_C_.size(0), "batch norm: expected [B, {}, H, W], got [{}]",
          weight_C_.size(0), fmt::join(x_BCHW.sizes(), ", "));
  const bool fused = at::globalContext().userEnabledCuDNN();
  if (!is_training()) {
    return torch::batch_norm(x_BCHW, weight_C_, bias_C_, running_mean_C_, running_var_C_, false, kMomentum, kEps,
                             fused);
  }
  if (ranks_.size > 1) return over_ranks(x_BCHW);
  require(x_BCHW.numel() > weight_C_.size(0),
          "batch norm: expected more than one value of each channel in train(), got [{}]; take at least two images at "
          "once",
          fmt::join(x_BCHW.sizes(), ", "));
  // With a momentum of 1 the running statistics become the batch's.
  Statistics batch{torch::zeros_like(running_mean_C_), torch::zeros_like(running_var_C_)};
  auto y_BCHW =
      torch::batch_norm(x_BCHW, weight_C_, bias_C_, batch.mean_C, batch.unbiased_var_C, true, 1.0, kEps, fused);
  noted_.push_back(std::move(batch));
  return y_BCHW;
}

torch::Tensor BatchNormImpl::over_ranks(const torch::Tensor& x_BCHW) {
  const FullPrecision full_precision;
  Moments moments;
  {
    const torch::NoGradGuard no_grad;
    moments = moments_over(ranks_, at_least_float32(x_BCHW));
    noted_.push_back({moments.mean_C, moments.var_C * (moments.count_1 / (moments.count_1 - 1).clamp_min(1))});
  }
  auto ranks = c10::make_intrusive<HeldRanks>();
  ranks->ranks = ranks_;
  return Normalise::apply(x_BCHW, weight_C_, bias_C_, moments, ranks);
}

void BatchNormImpl::update_statistics() {
  for (const auto& batch : noted_) {
    running_mean_C_.mul_(1 - kMomentum).add_(batch.mean_C, kMomentum);
    running_var_C_.mul_(1 - kMomentum).add_(batch.unbiased_var_C, kMomentum);
    num_batches_tracked_.add_(1);
  }
  noted_.clear();
}

}  // namespace beit
