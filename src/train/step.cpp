#include "train/step.h"

#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "core/send.h"

namespace beit {
void check_divides(const TrainOptions& options, int64_t ranks) {
  require(
      options.batch_size % (ranks * options.accumulate) == 0,
      "training: expected a batch size that {} rank{} of {} part{} divide, got {}; change --batch-size, --accumulate "
      "or the number of ranks",
      ranks, ranks == 1 ? "" : "s", options.accumulate, options.accumulate == 1 ? "" : "s", options.batch_size);
}

TrainingStep::TrainingStep(TrainingTask& task, AdamW& optimizer, const TrainOptions& options, Distributed& distributed)
    : task_(task),
      optimizer_(optimizer),
      options_(options),
      distributed_(distributed),
      device_(task.model().parameters().front().device()),
      reduced_(reduced_type(options.precision, device_)),
      scale_(reduced_),
      buckets_(distributed, task.model()) {
  check_divides(options, distributed.ranks());
}

// Row i of this rank is sample i * ranks + rank of the step (data/sampler.h).
std::pair<std::vector<Batch>, std::vector<StepPart>> TrainingStep::cut(const Batch& batch) const {
  const int64_t rows = batch.indices_B.size(0), ranks = distributed_.ranks(), count = options_.accumulate;
  if (ranks == 1 && count == 1) return {{batch}, {StepPart{}}};
  const auto samples_B = torch::arange(rows) * ranks + distributed_.rank();
  std::vector<Batch> batches;
  std::vector<StepPart> parts;
  for (int64_t i = 0; i < count; ++i) {
    const auto part = [&](const torch::Tensor& all) { return all.slice(0, i * rows / count, (i + 1) * rows / count); };
    Batch piece{.views = {}, .indices_B = part(batch.indices_B), .labels_B = part(batch.labels_B)};
    for (const auto& view : batch.views) piece.views.push_back(part(view));
    batches.push_back(std::move(piece));
    parts.push_back({.samples = rows * ranks, .samples_B = send(part(samples_B), device_)});
  }
  return {std::move(batches), std::move(parts)};
}

// Leaves the mean over all images in the parameters' gradients.
StepFigures TrainingStep::gradients(const std::vector<Batch>& batches, const std::vector<StepPart>& parts,
                                    uint64_t seed) {
  const auto count = static_cast<double>(parts.size());
  optimizer_.zero_grad();
  torch::manual_seed(seed);
  {
    const Autocast autocast(device_, reduced_);
    task_.begin_step(batches, parts);
  }
  std::vector<std::string> names;
  torch::Tensor sums;  // of the loss and its parts
  for (size_t i = 0; i < parts.size(); ++i) {
    torch::manual_seed(seed);  // each part draws for all samples, and takes its own
    StepLoss loss;
    {
      const Autocast autocast(device_, reduced_);
      loss = task_.loss(batches[i], parts[i]);
    }
    const auto share = loss.total * (scale_.value() / count);
    if (i + 1 < parts.size()) {
      share.backward();
    } else {
      buckets_.backward(share);
    }
    std::vector<torch::Tensor> figures{loss.total.detach().to(torch::kFloat64)};
    names.clear();
    for (const auto& [name, value] : loss.parts) {
      names.push_back(name);
      figures.push_back(value.detach().to(torch::kFloat64));
    }
    const auto stacked = torch::stack(figures);
    sums = sums.defined() ? sums + stacked : stacked;
  }
  scale_.unscale(optimizer_.grads());
  // All figures come at once, the one wait for a GPU in a step.
  auto means = torch::cat({sums, optimizer_.grad_norm().to(sums.device()).view(1)}).cpu();
  StepFigures result{.grad_norm = means[-1].item<double>()};
  distributed_.sum(means);
  means /= count * static_cast<double>(distributed_.ranks());
  result.loss = means[0].item<double>();
  for (size_t i = 0; i < names.size(); ++i) {
    result.parts.emplace_back(names[i], means[static_cast<int64_t>(i) + 1].item<double>());
  }
  return result;
}

StepFigures TrainingStep::take(const Batch& batch, int64_t step, double lr, const std::function<void()>& give_up,
                               const std::function<std::string()>& names_of) {
  const auto [batches, parts] = cut(batch);
  task_.model().train();
  const LossScale first_scale = scale_;
  bool halving = true;  // until it was of no use
  for (int64_t attempt = 0;;) {
    const uint64_t seed = Random(static_cast<uint64_t>(options_.seed), static_cast<uint64_t>(step),
                                 static_cast<uint64_t>(attempt), Purpose::kStep)
                              .bits();
    StepFigures figures = gradients(batches, parts, seed);
    if (std::isfinite(figures.grad_norm) && std::isfinite(figures.loss)) {
      const double clip = options_.clip_grad > 0 ? std::min(1.0, options_.clip_grad / (figures.grad_norm + 1e-6)) : 1.0;
      torn_ = true;
      optimizer_.step(lr, clip);
      task_.step_taken();
      torn_ = false;
      scale_.note_step();
      return figures;
    }
    task_.step_refused();
    if (halving && std::isfinite(figures.loss)) {
      if (scale_.halve()) continue;
      halving = false;
      scale_ = first_scale;
    }
    if (distributed_.leads())
      log().warn("step {}: loss {} with gradients of norm {}: refused, nothing is changed", step + 1, figures.loss,
                 figures.grad_norm);
    if (++attempt <= options_.retries) continue;
    give_up();
    fail(
        "training: expected a finite loss and finite gradients at step {}, got {} and {} in {} tries; the steps before "
        "it are saved: go on with a smaller --lr or with --clip-grad; where that does not help, from an earlier "
        "checkpoint "
        "(--resume PATH --output ANOTHER) or anew (--resume never), as weights may be ruined before numbers are; or "
        "look "
        "at its images: {}",
        step + 1, figures.loss, figures.grad_norm, attempt, names_of());
  }
}

}  // namespace beit
