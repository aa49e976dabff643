// Shape letters: B images of a batch, M samples, N patches, D width of a token, H heads, d width of a head, K classes,
// R samples that are trained on, L learning rates.
#include "core/attentive_probe.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "core/init.h"

namespace beit {
namespace {

constexpr InitOptions kInit{.std = 0.02, .cut = 2.0};

void check(const LabelledTokens& set, std::string_view name, const torch::Tensor& like_MND, int64_t classes) {
  require(set.tokens_MND.dim() == 3 && set.tokens_MND.is_floating_point() &&
              set.tokens_MND.sizes().slice(1) == like_MND.sizes().slice(1),
          "probe: expected {} tokens [M, N, D] as those of training, got {}", name,
          fmt::join(set.tokens_MND.sizes(), " x "));
  check_labels(set.labels_M, set.tokens_MND.size(0), name, classes);
  const int64_t step = rows_at_once(set.tokens_MND.size(1) * set.tokens_MND.size(2));
  for (int64_t first = 0; first < set.tokens_MND.size(0); first += step) {
    require(set.tokens_MND.slice(0, first, first + step).isfinite().all().item<bool>(),
            "probe: expected finite {} tokens, got NaN or infinity, as of numbers beyond float16", name);
  }
}

/// Float32 tokens of these rows on the labels' device.
torch::Tensor tokens_of(const LabelledTokens& set, const torch::Tensor& rows_B) {
  return set.tokens_MND.index_select(0, rows_B.to(set.tokens_MND.device())).to(set.labels_M.device(), torch::kFloat32);
}

struct Trained {
  AttentiveProbe probe = nullptr;
  std::unique_ptr<torch::optim::AdamW> optimizer;
};

std::vector<Trained> train_on(const LabelledTokens& train, const torch::Tensor& rows_R, int64_t classes,
                              const AttentiveProbeOptions& options) {
  std::vector<Trained> all;
  for (const double lr : options.lrs) {
    torch::manual_seed(options.seed);  // all start alike
    AttentiveProbe probe(train.tokens_MND.size(2), options.heads, classes);
    probe->to(train.labels_M.device());
    auto optimizer = std::make_unique<torch::optim::AdamW>(
        probe->parameters(), torch::optim::AdamWOptions(lr).weight_decay(options.weight_decay));
    all.push_back({std::move(probe), std::move(optimizer)});
  }
  const int64_t samples = rows_R.size(0), batch = std::min(options.batch_size, samples);
  const int64_t steps_per_epoch = samples / batch, steps = options.epochs * steps_per_epoch;
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    Random random(options.seed, static_cast<uint64_t>(epoch) + 1, 0, Purpose::kOrder);
    const auto order_R = rows_R.index_select(0, torch::tensor(random.permutation(samples)).to(rows_R.device()));
    for (int64_t i = 0; i < steps_per_epoch; ++i) {
      const auto rows_B = order_R.slice(0, i * batch, (i + 1) * batch);
      const auto tokens_BND = tokens_of(train, rows_B);
      const auto labels_B = train.labels_M.index_select(0, rows_B);
      const double share = rate_share(epoch * steps_per_epoch + i, steps, steps / 10);
      for (size_t l = 0; l < all.size(); ++l) {
        auto& [probe, optimizer] = all[l];
        optimizer->param_groups().front().options().set_lr(options.lrs[l] * share);
        optimizer->zero_grad();
        torch::cross_entropy_loss(probe->forward(tokens_BND), labels_B).backward();
        optimizer->step();
      }
    }
  }
  return all;
}

/// In percent, one for each probe.
std::vector<double> top1_of(std::vector<Trained>& all, const LabelledTokens& set, const torch::Tensor& rows_M,
                            int64_t batch) {
  const torch::NoGradGuard no_grad;
  auto right_L = torch::zeros({std::ssize(all)}, set.labels_M.options());
  for (int64_t first = 0; first < rows_M.size(0); first += batch) {
    const auto rows_B = rows_M.slice(0, first, first + batch);
    const auto tokens_BND = tokens_of(set, rows_B);
    const auto labels_B = set.labels_M.index_select(0, rows_B);
    for (size_t l = 0; l < all.size(); ++l)
      right_L[static_cast<int64_t>(l)] += all[l].probe->forward(tokens_BND).argmax(1).eq(labels_B).sum();
  }
  std::vector<double> percent;
  for (int64_t l = 0; l < right_L.size(0); ++l)
    percent.push_back(100 * right_L[l].item<double>() / static_cast<double>(rows_M.size(0)));
  return percent;
}

}  // namespace

AttentiveProbeImpl::AttentiveProbeImpl(int64_t width, int64_t heads, int64_t classes) : heads_(heads) {
  require(heads > 0 && width % heads == 0, "probe: expected heads that divide the width {}, got {}", width, heads);
  norm_ = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(1e-6)));
  query_Hd_ = register_parameter("query", torch::zeros({heads, width / heads}));
  // A key's bias would add the same to all scores of a query: softmax takes it away.
  key_ = register_module("key", torch::nn::Linear(torch::nn::LinearOptions(width, width).bias(false)));
  value_ = register_module("value", torch::nn::Linear(width, width));
  proj_ = register_module("proj", torch::nn::Linear(width, width));
  head_ = register_module("head", torch::nn::Linear(width, classes));
  init_linear_layers(*this, kInit);
  trunc_normal_(query_Hd_, kInit.std, kInit.cut);
}

torch::Tensor AttentiveProbeImpl::forward(const torch::Tensor& tokens_BND) {
  const int64_t width = tokens_BND.size(2), head_width = width / heads_;
  const auto z_BND = norm_->forward(tokens_BND);
  // A query that is the same for all images goes through the key's weights first, and a head's tokens are averaged
  // before they go through the value's: the same sums, without a key and a value of each token.
  const auto query_HD = torch::einsum("hd,hde->he", {query_Hd_, key_->weight.view({heads_, head_width, width})});
  const auto scores_BNH = z_BND.matmul(query_HD.t()) / std::sqrt(static_cast<double>(head_width));
  const auto seen_BHD = scores_BNH.softmax(1).transpose(1, 2).matmul(z_BND);
  const auto value_BHd = torch::einsum("bhe,hde->bhd", {seen_BHD, value_->weight.view({heads_, head_width, width})});
  return head_->forward(proj_->forward(value_BHd.flatten(1) + value_->bias));
}

std::vector<RateResult> attentive_probe(const LabelledTokens& train, const LabelledTokens& val, int64_t classes,
                                        const AttentiveProbeOptions& options) {
  require(!options.lrs.empty() && std::ranges::min(options.lrs) > 0 && options.batch_size > 0 && options.epochs > 0 &&
              options.weight_decay >= 0,
          "probe: expected positive learning rates, a batch, epochs and a weight decay from 0, got [{}], {}, {} and {}",
          fmt::join(options.lrs, ", "), options.batch_size, options.epochs, options.weight_decay);
  check(train, "training", train.tokens_MND, classes);
  check(val, "validation", train.tokens_MND, classes);
  const torch::AutoGradMode with_gradients(true);
  const HeldOut parts = hold_out(train.labels_M, options.held_out, options.seed);
  const auto all_rows = [](const LabelledTokens& set) {
    return torch::arange(set.labels_M.size(0), set.labels_M.options());
  };
  auto probes = train_on(train, parts.rest, classes, options);
  const auto held_out = top1_of(probes, train, parts.held, options.batch_size);
  probes = train_on(train, all_rows(train), classes, options);
  const auto whole = top1_of(probes, val, all_rows(val), options.batch_size);
  std::vector<RateResult> results;
  for (size_t l = 0; l < options.lrs.size(); ++l) results.push_back({options.lrs[l], held_out[l], whole[l]});
  return results;
}

}  // namespace beit
