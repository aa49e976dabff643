// Shape letters: M rows, C rows of a chunk, D width, V classes.
#include "core/linear_cross_entropy.h"

#include <ATen/autocast_mode.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "core/cpu_float32.h"
#include "core/first_gradients.h"
#include "core/full_precision.h"
#include "core/kernels.h"
#include "core/linear.h"

namespace beit {
namespace {

constexpr int64_t kLogitsAtOnce = int64_t{1} << 22;   // 16 MiB
constexpr int64_t kLogitsAtLeast = int64_t{1} << 15;  // of a thread

/// What wants a gradient; the others are left undefined.
struct Wanted {
  bool features = false, weight = false, bias = false;
};

struct Result {
  torch::Tensor loss, right;
  torch::Tensor grad_features_MD, grad_weight_VD, grad_bias_V;
};

Result in_chunks(const torch::Tensor& features_MD, const torch::Tensor& weight_VD, const torch::Tensor& bias_V,
                 const torch::Tensor& targets_M, const Wanted& wanted) {
  const torch::NoGradGuard no_grad;
  const int64_t rows = features_MD.size(0), classes = weight_VD.size(0);
  const int64_t chunks = (rows * classes + kLogitsAtOnce - 1) / kLogitsAtOnce, chunk = (rows + chunks - 1) / chunks;
  const auto bias = bias_V.contiguous(), targets = targets_M.contiguous();
  const float* biases = bias.const_data_ptr<float>();
  const int64_t* target = targets.const_data_ptr<int64_t>();
  std::vector<RowCrossEntropy> of_row(static_cast<size_t>(rows));
  Result result;
  if (wanted.features) result.grad_features_MD = torch::empty_like(features_MD, at::MemoryFormat::Contiguous);
  if (wanted.weight) result.grad_weight_VD = torch::empty_like(weight_VD, at::MemoryFormat::Contiguous);
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    const auto part_CD = features_MD.slice(0, first, first + count);
    auto grad_CV = product(part_CD, weight_VD);  // logits, until cross_entropy() makes them their gradient
    auto* logits = grad_CV.mutable_data_ptr<float>();
    parallel_for(0, count, std::max<int64_t>(1, kLogitsAtLeast / classes), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        of_row[static_cast<size_t>(first + i)] = kernels().cross_entropy(
            logits + i * classes, biases, classes, target[first + i], 1.0F / static_cast<float>(rows));
    });
    if (wanted.features) result.grad_features_MD.slice(0, first, first + count).copy_(product(grad_CV, weight_VD.t()));
    if (wanted.weight) result.grad_weight_VD.addmm_(grad_CV.t(), part_CD, /*beta=*/first == 0 ? 0 : 1);
    if (wanted.bias) {
      const auto sum_V = grad_CV.sum(0);
      result.grad_bias_V = first == 0 ? sum_V : result.grad_bias_V.add_(sum_V);
    }
  }
  double loss = 0;
  int64_t right = 0;
  for (const auto& row : of_row) {
    loss += static_cast<double>(row.loss);
    right += row.right ? 1 : 0;
  }
  result.loss = torch::full({}, loss / static_cast<double>(rows), features_MD.options());
  result.right = torch::full({}, right, targets.options());
  return result;
}

class Chunked : public torch::autograd::Function<Chunked> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const torch::Tensor& features_MD, const torch::Tensor& weight_VD,
                                                const torch::Tensor& bias_V, const torch::Tensor& targets_M) {
    const auto result = in_chunks(features_MD, weight_VD, bias_V, targets_M,
                                  {features_MD.requires_grad(), weight_VD.requires_grad(), bias_V.requires_grad()});
    context->save_for_backward({result.grad_features_MD, result.grad_weight_VD, result.grad_bias_V});
    context->mark_non_differentiable({result.right});
    return {result.loss, result.right};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    refuse_gradients_of_gradients("cross-entropy");
    auto inputs = context->get_saved_variables();
    const auto factor = grads[0].item<float>();
    for (auto& grad : inputs) {
      if (grad.defined() && factor != 1) grad = grad * factor;  // not in place: there may be another backward pass
    }
    inputs.emplace_back();  // of the targets
    return inputs;
  }
};

}  // namespace

LinearCrossEntropy linear_cross_entropy(const torch::Tensor& features_MD, const torch::Tensor& weight_VD,
                                        const torch::Tensor& bias_V, const torch::Tensor& targets_M) {
  require(features_MD.dim() == 2 && weight_VD.dim() == 2 && weight_VD.size(1) == features_MD.size(1) &&
              bias_V.sizes() == torch::IntArrayRef({weight_VD.size(0)}) &&
              targets_M.sizes() == torch::IntArrayRef({features_MD.size(0)}) &&
              targets_M.scalar_type() == torch::kInt64,
          "cross-entropy: expected features [M, D], weight [V, D], bias [V] and int64 targets [M], got [{}], [{}], "
          "[{}] and {} [{}]",
          fmt::join(features_MD.sizes(), ", "), fmt::join(weight_VD.sizes(), ", "), fmt::join(bias_V.sizes(), ", "),
          torch::toString(targets_M.scalar_type()), fmt::join(targets_M.sizes(), ", "));
  if (is_cpu_float32(features_MD) && is_cpu_float32(weight_VD) && is_cpu_float32(bias_V) && targets_M.is_cpu() &&
      targets_M.numel() > 0 && !at::autocast::is_autocast_enabled(at::kCPU)) {
    const int64_t least = targets_M.min().item<int64_t>(), most = targets_M.max().item<int64_t>();
    require(least >= 0 && most < weight_VD.size(0), "cross-entropy: expected targets in [0, {}), got {} to {}",
            weight_VD.size(0), least, most);
    if (torch::GradMode::is_enabled() &&
        (features_MD.requires_grad() || weight_VD.requires_grad() || bias_V.requires_grad())) {
      const auto outputs = Chunked::apply(features_MD, weight_VD, bias_V, targets_M);
      return {outputs[0], outputs[1]};
    }
    const auto result = in_chunks(features_MD, weight_VD, bias_V, targets_M, {});
    return {result.loss, result.right};
  }
  const auto logits_MV = at_least_float32(linear(features_MD, weight_VD, bias_V));
  const FullPrecision full_precision;
  return {torch::cross_entropy_loss(logits_MV, targets_M), logits_MV.detach().argmax(1).eq(targets_M).sum()};
}

}  // namespace beit
