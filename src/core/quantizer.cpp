#include "core/quantizer.h"

#include <utility>

#include "base/error.h"
#include "core/full_precision.h"
#include "core/init.h"
#include "core/kmeans.h"

namespace beit {
namespace {

constexpr int64_t kMostKMeansRows = 262'144;  // of all ranks together

torch::Tensor unit(const torch::Tensor& x) {
  return torch::nn::functional::normalize(x, torch::nn::functional::NormalizeFuncOptions().dim(-1));
}

}  // namespace

CodeUsage code_usage(const torch::Tensor& counts_K) {
  const auto share_K = counts_K.to(torch::kFloat64) / counts_K.sum().clamp_min(1);
  CodeUsage usage;
  usage.unused = counts_K.eq(0).sum().item<int64_t>();
  usage.percent = 100.0 - 100.0 * static_cast<double>(usage.unused) / static_cast<double>(counts_K.numel());
  usage.perplexity = std::exp(-torch::xlogy(share_K, share_K).sum().item<double>());
  return usage;
}

QuantizerImpl::QuantizerImpl(const QuantizerOptions& options, Ranks ranks)
    : options_(options), ranks_(std::move(ranks)) {
  require(options.codes >= 1 && options.width >= 1,
          "quantizer: expected at least one code of width 1, got {} of {}; set --codes and --code-dim", options.codes,
          options.width);
  require(options.decay >= 0 && options.decay < 1, "quantizer: expected a decay in [0, 1), got {}; set --code-decay",
          options.decay);
  require(options.revive_threshold >= 0 && options.revive_threshold < 1 && options.revive_every >= 1,
          "quantizer: expected revive_threshold in [0, 1) and revive_every of at least 1, got {} and {}",
          options.revive_threshold, options.revive_every);
  const bool drawn = !options.kmeans_start && gives_initial_values();
  const auto first_KD =
      drawn ? unit(torch::randn({options.codes, options.width})) : torch::zeros({options.codes, options.width});
  const auto embedding = register_module("embedding", std::make_shared<torch::nn::Module>());
  weight_KD_ = embedding->register_parameter("weight", first_KD, /*requires_grad=*/false);
  start_counts_K_ =
      embedding->register_parameter("cluster_size", torch::zeros({options.codes}), /*requires_grad=*/false);
  embed_avg_KD_ = embedding->register_parameter("embed_avg", first_KD.clone(), /*requires_grad=*/false);
  initted_1_ = embedding->register_buffer("initted", torch::full({1}, options.kmeans_start ? 0.0F : 1.0F));
  cluster_size_K_ = register_buffer("cluster_size", torch::zeros({options.codes}));
  train_counts_K_ = torch::zeros({options.codes}, torch::kInt64);
  eval_counts_K_ = train_counts_K_.clone();
  recent_counts_K_ = train_counts_K_.clone();
}

torch::Tensor QuantizerImpl::unit_vectors(const torch::Tensor& features_BND) const {
  require(features_BND.dim() == 3 && features_BND.size(2) == options_.width,
          "quantizer: expected features [B, N, {}], got [{}]; the encoder's output width must equal --code-dim",
          options_.width, fmt::join(features_BND.sizes(), ", "));
  return unit(at_least_float32(features_BND));
}

Quantized QuantizerImpl::forward(const torch::Tensor& features_BND, const StepPart& part) {
  const FullPrecision full_precision;
  const auto z_BND = unit_vectors(features_BND);
  check_part(part, z_BND.size(0));
  const auto z_MD = z_BND.detach().flatten(0, 1);
  torch::Tensor ids_M, codes_KD;
  {
    torch::NoGradGuard no_grad;
    if (is_training() && needs_start()) start_from(z_BND.detach(), part);
    codes_KD = (is_training() && staged_start_KD_.defined() ? staged_start_KD_ : weight_KD_).to(z_BND.dtype());
    ids_M = nearest_codes(z_MD, codes_KD);
    // Not bincount(), which waits for a GPU.
    const auto counts_K =
        torch::zeros({options_.codes}, ids_M.options()).scatter_add_(0, ids_M, torch::ones_like(ids_M));
    if (is_training()) {
      if (options_.revive_threshold > 0) staged_rows_.add(z_BND.detach(), part);
      const auto sums_KD = sum_by_code(z_MD, ids_M, options_.codes);
      staged_counts_K_ = staged_counts_K_.defined() ? staged_counts_K_ + counts_K : counts_K;
      staged_sums_KD_ = staged_sums_KD_.defined() ? staged_sums_KD_ + sums_KD : sums_KD;
    } else {
      eval_counts_K_ = eval_counts_K_.to(counts_K.device()) + counts_K;
    }
  }
  const auto q_BND = codes_KD.index_select(0, ids_M).view_as(z_BND);
  return {z_BND + (q_BND - z_BND).detach(), ids_M.view({z_BND.size(0), z_BND.size(1)}),
          options_.beta * torch::mse_loss(z_BND, q_BND)};
}

bool QuantizerImpl::needs_start() const {
  if (staged_start_KD_.defined()) return false;
  // Looked at once for each of its versions: on a GPU that is to wait for it.
  if (seen_version_ != initted_1_._version()) {
    seen_version_ = initted_1_._version();
    started_ = initted_1_.item<double>() != 0.0;
  }
  return !started_;
}

void QuantizerImpl::stage_start(const torch::Tensor& features_BND, const StepPart& part) {
  const FullPrecision full_precision;
  torch::NoGradGuard no_grad;
  start_from(unit_vectors(features_BND), part);
}

void QuantizerImpl::start_from(const torch::Tensor& z_BND, const StepPart& part) {
  // All ranks' rows are gathered and rank 0's result goes to all: every rank starts with the same codes.
  StepRows step;
  step.add(z_BND, part);
  const auto z_MD = step.place(ranks_).front(kMostKMeansRows, ranks_);
  auto means_KD = torch::zeros_like(weight_KD_), counts_K = torch::zeros_like(start_counts_K_);
  if (ranks_.rank == 0) {
    const int64_t all = z_MD.size(0);
    const auto start_K = all >= options_.codes ? torch::randperm(all, torch::kInt64).slice(0, 0, options_.codes)
                                               : torch::randint(all, {options_.codes}, torch::kInt64);
    const auto found = kmeans(z_MD, start_K.to(z_MD.device()));
    means_KD.copy_(found.means_KD);
    counts_K.copy_(found.counts_K);
  }
  ranks_.sum(means_KD);
  ranks_.sum(counts_K);
  staged_start_KD_ = means_KD;
  staged_start_counts_K_ = counts_K;
}

void QuantizerImpl::update() {
  if (!staged_counts_K_.defined()) return;
  torch::NoGradGuard no_grad;
  if (staged_start_KD_.defined()) {
    set_codebook(staged_start_KD_);
    start_counts_K_.copy_(staged_start_counts_K_);
  }
  ranks_.sum(staged_counts_K_);
  ranks_.sum(staged_sums_KD_);
  const auto count_K1 = staged_counts_K_.unsqueeze(1);
  const auto mean_KD = torch::where(count_K1.eq(0), weight_KD_, unit(staged_sums_KD_ / count_K1.clamp_min(1)));
  weight_KD_.copy_(unit(weight_KD_ * options_.decay + mean_KD * (1.0 - options_.decay)));
  cluster_size_K_.mul_(options_.decay).add_(staged_counts_K_, 1.0 - options_.decay);
  train_counts_K_ = train_counts_K_.to(staged_counts_K_.device()) + staged_counts_K_;
  recent_counts_K_ = recent_counts_K_.to(staged_counts_K_.device()) + staged_counts_K_;
  if (options_.revive_threshold > 0 && ++updates_since_search_ >= options_.revive_every) revive();
  discard();
}

void QuantizerImpl::discard() {
  staged_counts_K_ = staged_sums_KD_ = staged_start_KD_ = staged_start_counts_K_ = torch::Tensor();
  staged_rows_.clear();
}

void QuantizerImpl::revive() {
  const double mean_use = recent_counts_K_.sum().item<double>() / static_cast<double>(options_.codes);
  const auto dead_R = recent_counts_K_.lt(options_.revive_threshold * mean_use).nonzero().squeeze(1);
  if (const int64_t dead = dead_R.size(0); dead > 0) {
    const auto step = staged_rows_.place(ranks_);
    auto row_R = torch::zeros_like(dead_R);
    if (ranks_.rank == 0) {
      const auto drawn = torch::randperm(step.rows, torch::kInt64);
      row_R.copy_(drawn.index_select(0, torch::arange(dead).remainder(step.rows)));
    }
    ranks_.sum(row_R);
    const auto revived_RD = step.pick(row_R, ranks_).to(weight_KD_.dtype());
    weight_KD_.index_copy_(0, dead_R, revived_RD);
  }
  recent_counts_K_.zero_();
  updates_since_search_ = 0;
}

void QuantizerImpl::set_codebook(const torch::Tensor& codes_KD) {
  require(codes_KD.sizes() == weight_KD_.sizes(),
          "quantizer: expected a codebook [{}], got [{}]; set --codes and --code-dim",
          fmt::join(weight_KD_.sizes(), ", "), fmt::join(codes_KD.sizes(), ", "));
  torch::NoGradGuard no_grad;
  weight_KD_.copy_(codes_KD);
  initted_1_.fill_(1.0F);
}

void QuantizerImpl::reset_usage() {
  if (is_training()) {
    train_counts_K_.zero_();
    cluster_size_K_.zero_();
  } else {
    eval_counts_K_.zero_();
  }
}

std::map<std::string, torch::Tensor> QuantizerImpl::progress() const {
  return {{"train_counts", train_counts_K_},
          {"recent_counts", recent_counts_K_},
          {"updates_since_search", torch::tensor({updates_since_search_})}};
}

void QuantizerImpl::set_progress(const std::map<std::string, torch::Tensor>& progress) {
  const auto part = [&](const std::string& name, int64_t size) {
    const auto found = progress.find(name);
    require(found != progress.end() && found->second.dim() == 1 && found->second.size(0) == size,
            "quantizer: expected {} of {} numbers, got {}", name, size,
            found == progress.end() ? "none" : "another shape");
    return found->second;
  };
  const auto train_counts_K = part("train_counts", options_.codes);
  const auto recent_counts_K = part("recent_counts", options_.codes);
  updates_since_search_ = part("updates_since_search", 1).item<int64_t>();
  train_counts_K_.copy_(train_counts_K);
  recent_counts_K_.copy_(recent_counts_K);
}

}  // namespace beit
