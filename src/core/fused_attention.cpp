#include "core/fused_attention.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/parallel.h"
#include "core/first_gradients.h"
#include "core/kernels.h"

namespace beit {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kHeads = "heads", kSources = "sources";
constexpr int64_t kLeastQueries = 48;  // of a part: below that, laying out keys and values again costs too much

/// The least number of parts that lets as many items, each cut into so many, keep all threads busy to the end.
int64_t parts(int64_t items, int64_t most) {
  const int64_t threads = at::get_num_threads();
  return std::clamp<int64_t>(threads / std::gcd(items, threads), 1, std::max<int64_t>(most, 1));
}

/// work(item, scratch) for all items, on all threads.
template <class Work>
void for_each_item(int64_t items, int64_t scratch_size, const Work& work) {
  parallel_for(0, items, 1, [&](int64_t begin, int64_t end) {
    const auto scratch = at::empty({scratch_size}, at::kFloat);
    for (int64_t item = begin; item < end; ++item) work(item, scratch.mutable_data_ptr<float>());
  });
}

/// The rows of one head of one image in [B, T, D].
ConstRows rows(const torch::Tensor& x_BTD, int64_t image, int64_t column) {
  return {x_BTD.const_data_ptr<float>() + image * x_BTD.stride(0) + column, x_BTD.stride(1)};
}
Rows mutable_rows(const torch::Tensor& x_BTD, int64_t image, int64_t column) {
  return {x_BTD.mutable_data_ptr<float>() + image * x_BTD.stride(0) + column, x_BTD.stride(1)};
}

/// In float32 and with numbers of a row next to one another.
torch::Tensor readable(const torch::Tensor& x) {
  const auto y = x.to(torch::kFloat32);
  return y.stride(-1) == 1 ? y : y.contiguous();
}

/// Everything attention reads, in the form that the kernels take.
struct Call {
  torch::Tensor q_BQD, k_BTD, v_BTD, bias_HTT, tokens_BQ;
  int64_t images, queries, tokens, heads, width;

  Call(torch::TensorList qkv, int64_t number_of_heads, const torch::Tensor& bias, const torch::Tensor& rows_BQ) {
    variable_list sources;
    for (const auto& source : qkv) sources.push_back(readable(source));
    const auto split = split_qkv(sources);
    q_BQD = split[0];
    k_BTD = split[1];
    v_BTD = split[2];
    if (bias.defined()) bias_HTT = bias.to(torch::kFloat32).contiguous();
    images = q_BQD.size(0);
    queries = q_BQD.size(1);
    tokens = k_BTD.size(1);
    heads = number_of_heads;
    width = q_BQD.size(2) / heads;
    tokens_BQ = rows_BQ.defined() ? rows_BQ.contiguous() : at::arange(tokens).expand({images, queries});
  }

  AttentionHead head(int64_t image, int64_t head) const {
    return {.queries = queries,
            .tokens = tokens,
            .width = width,
            .q = rows(q_BQD, image, head * width),
            .k = rows(k_BTD, image, head * width),
            .v = rows(v_BTD, image, head * width),
            .bias = bias_HTT.defined() ? bias_HTT.const_data_ptr<float>() + head * tokens * tokens : nullptr,
            .bias_rows = tokens_BQ.const_data_ptr<int64_t>() + image * tokens_BQ.stride(0)};
  }

  int64_t scratch() const { return kernels().attention_scratch(tokens, width); }
};

struct Forward {
  torch::Tensor y_BQD, log_sums_BHQ;
};

Forward forward(const Call& call) {
  const Forward found{.y_BQD = at::empty({call.images, call.queries, call.heads * call.width}, at::kFloat),
                      .log_sums_BHQ = at::empty({call.images, call.heads, call.queries}, at::kFloat)};
  auto* const log_sums = found.log_sums_BHQ.mutable_data_ptr<float>();
  const int64_t pairs = call.images * call.heads, cuts = parts(pairs, call.queries / kLeastQueries);
  for_each_item(pairs * cuts, call.scratch(), [&](int64_t item, float* scratch) {
    const int64_t pair = item / cuts, part = item % cuts, image = pair / call.heads, index = pair % call.heads;
    const int64_t first = part * call.queries / cuts;
    auto head = call.head(image, index);
    auto y = mutable_rows(found.y_BQD, image, index * call.width);
    head.queries = (part + 1) * call.queries / cuts - first;
    head.q.data += first * head.q.stride;
    head.bias_rows += first;
    y.data += first * y.stride;
    kernels().attention(head, y, log_sums + pair * call.queries + first, scratch);
  });
  return found;
}

/// Writes the gradients of query, key and value into `grads`; returns that of the bias where `biased`. Images are in
/// groups that each sum theirs in order, so that it does not depend on which thread is first.
torch::Tensor backward(const Call& call, const torch::Tensor& log_sums_BHQ, const torch::Tensor& grad_y_BQD,
                       const std::vector<torch::Tensor>& grads, bool biased) {
  const auto* const log_sums = log_sums_BHQ.const_data_ptr<float>();
  const int64_t groups = biased ? parts(call.heads, call.images) : call.images;
  torch::Tensor grad_bias_GHTT;
  if (biased) grad_bias_GHTT = at::zeros({groups, call.heads, call.tokens, call.tokens}, at::kFloat);
  auto* const grad_bias = biased ? grad_bias_GHTT.mutable_data_ptr<float>() : nullptr;
  for_each_item(groups * call.heads, call.scratch(), [&](int64_t item, float* scratch) {
    const int64_t group = item / call.heads, index = item % call.heads, column = index * call.width;
    for (int64_t image = group * call.images / groups; image < (group + 1) * call.images / groups; ++image) {
      kernels().attention_backward(call.head(image, index), log_sums + (image * call.heads + index) * call.queries,
                                   rows(grad_y_BQD, image, column),
                                   {.q = mutable_rows(grads[0], image, column),
                                    .k = mutable_rows(grads[1], image, column),
                                    .v = mutable_rows(grads[2], image, column),
                                    .bias = biased ? grad_bias + item * call.tokens * call.tokens : nullptr},
                                   scratch);
    }
  });
  if (!biased) return {};
  return groups == 1 ? grad_bias_GHTT.squeeze(0) : grad_bias_GHTT.sum(0);
}

struct FusedAttention : torch::autograd::Function<FusedAttention> {
  static torch::Tensor forward(AutogradContext* context, torch::TensorList qkv,
                               const std::optional<torch::Tensor>& bias, const std::optional<torch::Tensor>& tokens,
                               int64_t heads) {
    const auto bias_HTT = bias.value_or(torch::Tensor()), tokens_BQ = tokens.value_or(torch::Tensor());
    const Call call(qkv, heads, bias_HTT, tokens_BQ);
    const auto found = beit::forward(call);
    auto saved = qkv.vec();
    saved.insert(saved.end(), {bias_HTT, tokens_BQ, found.log_sums_BHQ});
    context->save_for_backward(saved);
    context->saved_data[kHeads] = heads;
    context->saved_data[kSources] = static_cast<int64_t>(qkv.size());
    return found.y_BQD.to(qkv.front().scalar_type());
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    refuse_gradients_of_gradients("attention");
    const auto saved = context->get_saved_variables();
    const auto sources = static_cast<size_t>(context->saved_data[kSources].toInt());
    const auto qkv = torch::TensorList(saved).slice(0, sources);
    const auto &bias_HTT = saved[sources], &tokens_BQ = saved[sources + 1], &log_sums_BHQ = saved[sources + 2];
    variable_list grads;
    for (const auto& source : qkv) grads.push_back(at::empty(source.sizes(), at::kFloat));
    const Call call(qkv, context->saved_data[kHeads].toInt(), bias_HTT, tokens_BQ);
    const auto grad_bias_HTT = beit::backward(call, log_sums_BHQ, readable(grad_outputs[0]), split_qkv(grads),
                                              bias_HTT.defined() && bias_HTT.requires_grad());
    for (size_t i = 0; i < sources; ++i) grads[i] = grads[i].to(qkv[i].scalar_type());
    grads.push_back(grad_bias_HTT.defined() ? grad_bias_HTT.to(bias_HTT.scalar_type()) : grad_bias_HTT);
    grads.insert(grads.end(), {{}, {}});  // none for tokens and heads
    return grads;
  }
};

}  // namespace

torch::Tensor fused_attention(torch::TensorList qkv, int64_t heads, const torch::Tensor& bias_HTT,
                              const torch::Tensor& tokens_BQ) {
  using MayBeUndefined = std::optional<torch::Tensor>;  // an undefined tensor as such is no argument
  return FusedAttention::apply(qkv, MayBeUndefined(bias_HTT), MayBeUndefined(tokens_BQ), heads);
}

bool fuses_attention(const torch::Tensor& q_BQD, const torch::Tensor& bias_HTT) {
  if (!q_BQD.is_cpu()) return false;
  const auto type = q_BQD.scalar_type();
  const bool trained = bias_HTT.defined() && bias_HTT.requires_grad() && torch::GradMode::is_enabled();
  return type == torch::kFloat32 || (trained && (type == torch::kBFloat16 || type == torch::kHalf));
}

std::vector<torch::Tensor> split_qkv(torch::TensorList qkv) {
  int64_t total = 0;
  for (const auto& source : qkv) total += source.size(-1);
  const int64_t width = total / 3;
  std::vector<torch::Tensor> parts;
  for (const auto& source : qkv) {
    require(width > 0 && total == 3 * width && source.size(-1) % width == 0,
            "attention: expected query, key and value of one width, got one of {} in {} side by side", source.size(-1),
            total);
    std::ranges::copy(source.split(width, -1), std::back_inserter(parts));  // one gradient of all, not one of each
  }
  return parts;
}

}  // namespace beit
