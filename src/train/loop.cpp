#include "train/loop.h"

#include <chrono>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "io/weights.h"
#include "train/device_batches.h"
#include "train/progress.h"

namespace beit {
namespace {

using Json = nlohmann::ordered_json;

// The three parts of a checkpoint, told apart by the start of a tensor's name.
constexpr std::string_view kModel = "model.", kOptimizer = "optimizer.", kProgress = "progress.";

void add(TensorMap& state, std::string_view prefix, const TensorMap& part) {
  for (const auto& [name, value] : part) state.emplace(std::string(prefix) + name, value);
}

void set_state(TrainingTask& task, AdamW& optimizer, const Checkpoint& state) try {
  load_state_dict_strict(task.model(), tensors_under(state.tensors, kModel), "model");
  optimizer.set_state(tensors_under(state.tensors, kOptimizer));
  task.set_progress(tensors_under(state.tensors, kProgress));
} catch (const Error& error) {
  fail("{}: {}; choose another --output, or --resume never to start anew", state.path.string(), error.what());
}

/// "loss 1.2345, lr 0.0015" of the numbers in a log line.
std::string readable(const Json& line) {
  std::string text;
  for (const auto& [key, value] : line.items()) {
    if (!value.is_number() || key == "step" || key == "epoch") continue;
    text += fmt::format("{}{} {:.4g}", text.empty() ? "" : ", ", key, value.get<double>());
  }
  return text;
}

void warn_of_rising(const CosineSchedule& lr) {
  if (lr.warmup_steps >= lr.steps) {
    log().warn("the learning rate rises to the end, as all epochs are warm-up; see --warmup-epochs");
  } else if (lr.last > lr.peak) {
    log().warn("the learning rate rises from {:g} to {:g} at the end; see --lr and --min-lr", lr.peak, lr.last);
  }
}

/// The next batch; where the images do not allow it, what was learnt so far is saved first.
std::optional<Batch> next_or_saved(DeviceBatches& batches, const std::function<void()>& save) try {
  return batches.next();
} catch (const Error&) {
  save();
  throw;
}

/// Of a batch's images, not all where they are many.
std::string names_of(const Dataset& images, const torch::Tensor& indices_B) {
  constexpr int64_t kMostNamed = 20;
  std::string names;
  for (int64_t i = 0; i < std::min(kMostNamed, indices_B.size(0)); ++i) {
    names += fmt::format("{}'{}'", i > 0 ? ", " : "", images.path(indices_B[i].item<int64_t>()));
  }
  return names + (indices_B.size(0) > kMostNamed ? fmt::format(" and {} more", indices_B.size(0) - kMostNamed) : "");
}

/// The loss of a batch, its gradients in the parameters, and their norm. Where they are not finite, the same batch is
/// tried with other random numbers; at last `give_up` saves, and names the batch's images.
std::pair<StepLoss, double> finite_gradients(TrainingTask& task, AdamW& optimizer, const Batch& batch, int64_t step,
                                             const TrainOptions& options,
                                             const std::function<std::string()>& give_up) {
  for (int64_t attempt = 0;; ++attempt) {
    torch::manual_seed(Random(static_cast<uint64_t>(options.seed), static_cast<uint64_t>(step),
                              static_cast<uint64_t>(attempt), Purpose::kStep)
                           .bits());
    task.model().train();
    StepLoss loss = task.loss(batch);
    optimizer.zero_grad();
    loss.total.backward();
    const double grad_norm = optimizer.grad_norm();
    const double total = loss.total.item<double>();
    if (std::isfinite(grad_norm) && std::isfinite(total)) return {std::move(loss), grad_norm};
    task.step_refused();
    log().warn("step {}: loss {} with gradients of norm {}: refused, nothing is changed", step + 1, total, grad_norm);
    if (attempt < options.retries) continue;
    const std::string names = give_up();
    fail(
        "training: expected a finite loss and finite gradients at step {}, got {} and {} in {} tries; the steps before it "
        "are saved: go on with a smaller --lr or with --clip-grad, or look at its images: {}",
        step + 1, total, grad_norm, attempt + 1, names);
  }
}

/// Images a second since the last question.
class Rate {
 public:
  double since_last(int64_t images) {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return static_cast<double>(images) / seconds;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
};

}  // namespace

TensorMap checkpoint_tensors(const torch::nn::Module& model, const AdamW& optimizer, const TensorMap& progress) {
  TensorMap state;
  add(state, kModel, state_dict(model));
  add(state, kOptimizer, optimizer.state());
  add(state, kProgress, progress);
  return state;
}

int64_t validate_on(Loader& validation, const std::function<void(const Batch&)>& measure) {
  int64_t images = 0;
  validation.start(/*epoch=*/0);
  while (const auto batch = validation.next()) {
    measure(*batch);
    images += batch->indices_B.size(0);
  }
  return images;
}

Plan plan(const TrainOptions& options, int64_t steps_per_epoch, double peak_lr) {
  TrainOptions checked = options;
  check_ranges(describe(checked), "training");
  const int64_t all = options.epochs * steps_per_epoch;
  return {.steps_per_epoch = steps_per_epoch,
          .last_step = options.steps > 0 ? std::min(options.steps, all) : all,
          .lr = {.peak = peak_lr,
                 .last = options.min_lr,
                 .steps = all,
                 .warmup_steps = std::min(options.warmup_epochs, options.epochs) * steps_per_epoch}};
}

bool finished(const Run& run, const std::optional<Checkpoint>& state, const Plan& plan) {
  if (!state || state->step < plan.last_step || !run.has_weights()) return false;
  if (state->step == plan.last_step && !run.has_epoch(state->step)) return false;
  log().info("{}: finished at step {}; a larger --epochs or --steps goes on, --resume never starts anew",
             run.folder().string(), state->step);
  return true;
}

void train(TrainingTask& task, Loader& loader, const Plan& plan, const TrainOptions& options, Run& run,
           const std::optional<Checkpoint>& state, const std::function<bool()>& should_stop) {
  warn_of_rising(plan.lr);
  AdamW optimizer(task.model(), {.beta1 = options.beta1, .beta2 = options.beta2, .weight_decay = options.weight_decay});
  DeviceBatches batches(loader, task.model().parameters().front().device());
  int64_t step = 0;
  if (state) {
    require(state->step <= plan.last_step,
            "{}: expected a checkpoint of at most {} steps, got {}; raise --steps or --epochs", state->path.string(),
            plan.last_step, state->step);
    set_state(task, optimizer, *state);
    step = state->step;
    log().info("resumed after step {} of {}", step, plan.last_step);
  }
  run.begin(step);

  const int64_t checkpoint_every = options.checkpoint_every > 0 ? options.checkpoint_every : plan.steps_per_epoch;
  Progress progress(step, plan.last_step, options.batch_size, log().should_log(spdlog::level::info));
  const auto ends_epoch = [&] { return step % plan.steps_per_epoch == 0 || step == plan.last_step; };
  const auto close_epoch = [&] {
    const int64_t epoch = (step - 1) / plan.steps_per_epoch + 1;
    Json line{{"event", "epoch"}, {"epoch", epoch}, {"step", step}};
    line.update(task.end_epoch());
    if (step == plan.last_step || epoch % options.val_every == 0) line.update(task.validate());
    if (loader.damaged() > 0) line["damaged_images"] = loader.damaged();
    run.log(line);
    progress.clear();
    const std::string figures = readable(line);
    log().info("epoch {}/{}: {}{}{} left", epoch, options.epochs, figures, figures.empty() ? "" : "; ",
               readable_seconds(progress.seconds_left(step)));
  };

  // The process may have ended between an epoch's checkpoint and its figures, or before the weights were written.
  if (step > 0 && ends_epoch() && !run.has_epoch(step)) close_epoch();
  if (step > 0 && !run.has_weights()) run.save_weights(state_dict(task.model()));

  int64_t saved_step = step;
  const auto save = [&] {
    if (step == saved_step) return;
    run.save(step, checkpoint_tensors(task.model(), optimizer, task.progress()),
             {.last = options.keep_checkpoints, .every = options.keep_every});
    saved_step = step;
  };

  Rate rate;
  int64_t logged_step = step, loaded_epoch = -1;
  while (step < plan.last_step) {
    const int64_t epoch = step / plan.steps_per_epoch;
    if (epoch != loaded_epoch) {
      batches.start(epoch, step % plan.steps_per_epoch);
      loaded_epoch = epoch;
    }
    if (step % plan.steps_per_epoch == 0) task.begin_epoch();
    const auto batch = next_or_saved(batches, [&] {
      save();
      run.finish();
    });
    require(batch.has_value(), "training: expected batch {} of epoch {}, got none", step % plan.steps_per_epoch, epoch);
    const auto [loss, grad_norm] = finite_gradients(task, optimizer, *batch, step, options, [&] {
      save();
      run.finish();
      return names_of(loader.dataset(), batch->indices_B);
    });
    if (options.clip_grad > 0) optimizer.scale_grads(std::min(1.0, options.clip_grad / (grad_norm + 1e-6)));
    const double lr = plan.lr.at(step);
    optimizer.step(lr);
    task.step_taken();
    ++step;

    const bool last = step == plan.last_step, stopping = !last && should_stop();
    progress.show(step, fmt::format("epoch {}/{}", epoch + 1, options.epochs));
    if (step == 1 || step % options.log_every == 0 || last) {
      Json line{{"step", step}, {"epoch", epoch + 1}, {"loss", loss.total.item<double>()}};
      for (const auto& [name, value] : loss.parts) line[name] = value.item<double>();
      line.update({{"lr", lr}, {"grad_norm", grad_norm}});
      line["images_per_s"] = rate.since_last((step - logged_step) * options.batch_size);
      logged_step = step;
      run.log(line);
      progress.clear();
      log().info("step {}/{}: {}", step, plan.last_step, readable(line));
    }
    if (last || stopping || step % checkpoint_every == 0) save();
    if (stopping) {
      run.finish();
      progress.clear();
      fail("training: stopped after step {} of {}, which is saved; the same command goes on from there", step,
           plan.last_step);
    }
    if (ends_epoch()) {
      close_epoch();
      rate.since_last(0);  // what validation took is not training's
      logged_step = step;
    }
  }
  run.finish();
}

}  // namespace beit
