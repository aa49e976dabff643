#include "train/loop.h"

#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/stopped.h"
#include "io/weights.h"
#include "train/device_batches.h"
#include "train/ema.h"
#include "train/events.h"
#include "train/memory.h"
#include "train/optimizer.h"
#include "train/progress.h"
#include "train/shared_checkpoint.h"
#include "train/step.h"

namespace beit {
namespace {

using Json = nlohmann::ordered_json;

// The parts of a checkpoint, told apart by the start of a tensor's name.
constexpr std::string_view kModel = "model.", kOptimizer = "optimizer.", kEma = "ema.", kScale = "loss_scale.",
                           kProgress = "progress.";

void add(TensorMap& state, std::string_view prefix, const TensorMap& part) {
  for (const auto& [name, value] : part) state.emplace(std::string(prefix) + name, value);
}

/// "loss 1.2345, lr 0.0015" of the figures in a log line.
std::string readable(const Json& line) {
  std::string text;
  for (const auto& [key, value] : line.items()) {
    if (!value.is_number() || key == "step" || key == "epoch" || key == "memory_bytes" || key == "seconds_left")
      continue;
    text += fmt::format("{}{} {:.4g}", text.empty() ? "" : ", ", key, value.get<double>());
  }
  return text;
}

void warn_of_rising(const Schedule& lr) {
  if (lr.warmup_steps >= lr.steps && lr.fall == Fall::kCosine) {
    log().warn("the learning rate rises to the end, as all steps are warm-up; see --warmup-epochs and --warmup-steps");
  } else if (lr.last > lr.peak) {
    log().warn("the learning rate rises from {:g} to {:g} at the end; see --lr and --min-lr", lr.peak, lr.last);
  }
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

/// The averages in the model's weights' place, while it lives.
class Exchanged {
 public:
  explicit Exchanged(Ema& ema) : ema_(ema) { ema_.exchange(); }
  ~Exchanged() { ema_.exchange(); }
  Exchanged(const Exchanged&) = delete;
  Exchanged& operator=(const Exchanged&) = delete;

 private:
  Ema& ema_;
};

/// One run of train(): what it holds, and what happens between two steps.
class Training {
 public:
  Training(TrainingTask& task, Loader& loader, const Plan& plan, const TrainOptions& options,
           const RankOptions& rank_options, Run& run, Distributed& distributed)
      : task_(task),
        loader_(loader),
        plan_(plan),
        options_(options),
        sharded_(rank_options.shard_optimizer && distributed.ranks() > 1),
        run_(run),
        distributed_(distributed),
        optimizer_(task.model(),
                   {.beta1 = options.beta1,
                    .beta2 = options.beta2,
                    .weight_decay = options.weight_decay,
                    .layers = task.layer_decay()},
                   rank_options.shard_optimizer ? &distributed : nullptr),
        stepping_(task, optimizer_, options, distributed),
        batches_(loader, task.model().parameters().front().device()) {}

  /// Where the run goes on.
  void begin(const std::optional<Checkpoint>& state) {
    if (state) set_state(*state);
    if (options_.ema_decay > 0 && !ema_) ema_.emplace(task_.model(), options_.ema_decay);
    begun_step_ = saved_step_ = logged_step_ = step_;
    log().info("beit {}, {}, {}; configuration: {}", run_.metadata("version"), run_.metadata("processor"),
               options_.precision, (run_.folder() / "config.toml").string());
    require_equal(distributed_, state_dict(task_.model()));
    run_.begin(step_, first_line());
    begun_ = true;
    if (options_.events_every >= 0 && distributed_.leads()) events_.emplace(run_.folder() / "events", step_);
    progress_.emplace(step_, plan_.last_step, options_.batch_size,
                      distributed_.leads() && log().should_log(spdlog::level::info));
    if (step_ == 0) return;
    log().info("resumed after step {} of {}", step_, plan_.last_step);
    // The process may have ended between an epoch's checkpoint and its figures, or before the weights were written.
    if (ends_epoch() && !run_.has_epoch(step_)) close_epoch();
    if (!run_.has_weights()) run_.save_weights(state_dict(task_.model()), ema_ ? ema_->state() : TensorMap{});
  }

  void go_on(const std::function<bool()>& should_stop) {
    const int64_t save_every = options_.checkpoint_every > 0 ? options_.checkpoint_every : plan_.steps_per_epoch;
    while (step_ < plan_.last_step) {
      const Batch batch = take_step();
      const bool last = step_ == plan_.last_step;
      const bool stopping = !last && should_stop();
      if (step_ == 1 || step_ % options_.log_every == 0 || last) log_step();
      show_pictures(batch);
      if (last || stopping || step_ % save_every == 0) save();
      if (stopping) stop();
      if (ends_epoch()) close_epoch();
    }
    run_.finish();
    run_.log({{"event", "end"}, {"step", step_}, {"state", "finished"}});
  }

  /// After an error: what was learnt is saved, unless that takes the other ranks, one of which may be gone.
  void end_with(const std::string& message) {
    if (!begun_) return;
    try {
      finish_writing();
      if (step_ > std::max(begun_step_, run_.saved_step()) && !sharded_ && !drifted_ && !stepping_.torn()) {
        write_checkpoint();
      }
      run_.finish();
      run_.log({{"event", "end"}, {"step", step_}, {"state", "failed"}, {"message", message}});
    } catch (const std::exception& error) {
      log().error("{}", error.what());
    }
  }

 private:
  void set_state(const Checkpoint& state) try {
    require(state.step <= plan_.last_step,
            "expected a checkpoint of at most {} steps, got {}; raise --steps or --epochs", plan_.last_step,
            state.step);
    load_state_dict_strict(task_.model(), tensors_under(state.tensors, kModel), "model");
    optimizer_.set_state(tensors_under(state.tensors, kOptimizer));
    stepping_.set_state(tensors_under(state.tensors, kScale));
    task_.set_progress(tensors_under(state.tensors, kProgress));
    if (options_.ema_decay > 0) {
      ema_.emplace(task_.model(), options_.ema_decay);
      if (const auto averages = tensors_under(state.tensors, kEma); !averages.empty()) ema_->set_state(averages);
    }
    step_ = state.step;
  } catch (const Error& error) {
    fail("{}: {}; choose another --output, or --resume never to start anew", state.path.string(), error.what());
  }

  Json first_line() const {
    const auto device = task_.model().parameters().front().device();
    Json line{{"event", step_ > 0 ? "resume" : "start"},
              {"step", step_},
              {"steps", plan_.last_step},
              {"steps_per_epoch", plan_.steps_per_epoch},
              {"epochs", plan_.epochs},
              {"batch_size", options_.batch_size},
              {"images", loader_.dataset().size()},
              {"device", device.str()},
              {"precision", options_.precision},
              {"ranks", distributed_.ranks()},
              {"threads", at::get_num_threads()}};
    for (const char* key : {"processor", "version"}) line[key] = run_.metadata(key);
    return line;
  }

  bool ends_epoch() const { return step_ % plan_.steps_per_epoch == 0 || step_ == plan_.last_step; }

  /// The next step; its batch.
  Batch take_step() {
    const auto start = Clock::now();
    const int64_t epoch = step_ / plan_.steps_per_epoch;
    if (epoch != loaded_epoch_) {
      batches_.start(epoch, step_ % plan_.steps_per_epoch);
      loaded_epoch_ = epoch;
    }
    if (step_ % plan_.steps_per_epoch == 0) task_.begin_epoch();
    auto batch = batches_.next();
    require(batch.has_value(), "training: expected batch {} of epoch {}, got none", step_ % plan_.steps_per_epoch,
            epoch);
    waited_s_ += seconds_since(start);
    lr_ = plan_.lr.at(step_);
    figures_ = stepping_.take(
        *batch, step_, lr_,
        [&] {
          save();
          finish_writing();
        },
        [&] { return names_of(loader_.dataset(), batch->indices_B); });
    if (ema_) ema_->update();
    ++step_;
    worked_s_ += seconds_since(start);
    progress_->show(step_,
                    fmt::format("{:.0f}% waiting for images, {:.1f} GiB, epoch {}/{}", 100 * waited_s_ / worked_s_,
                                static_cast<double>(peak_memory(device())) / (1 << 30), epoch + 1, plan_.epochs));
    return std::move(*batch);
  }

  void log_step() {
    Json line{{"step", step_}, {"epoch", (step_ - 1) / plan_.steps_per_epoch + 1}, {"loss", figures_.loss}};
    for (const auto& [name, value] : figures_.parts) line[name] = value;
    line.update({{"lr", lr_}, {"grad_norm", figures_.grad_norm}});
    if (events_) {
      for (const auto& [name, value] : line.items()) {
        if (name != "step") events_->scalar("train/" + name, value.get<double>(), step_);
      }
    }
    line["images_per_s"] = static_cast<double>((step_ - logged_step_) * options_.batch_size) / worked_s_;
    line["data_wait"] = waited_s_ / worked_s_;
    line["memory_bytes"] = peak_memory(device());
    line["seconds_left"] = progress_->seconds_left(step_);
    if (events_) {
      for (const char* name : {"images_per_s", "data_wait"}) {
        events_->scalar(std::string("speed/") + name, line[name].get<double>(), step_);
      }
    }
    logged_step_ = step_;
    waited_s_ = worked_s_ = 0;
    run_.log(line);
    progress_->clear();
    log().info("step {}/{}: {}", step_, plan_.last_step, readable(line));
  }

  void show_pictures(const Batch& batch) {
    if (!events_) return;
    if (options_.events_every > 0 ? step_ % options_.events_every != 0 : !ends_epoch()) return;
    for (const auto& picture : task_.pictures(batch)) events_->image(picture.tag, picture.pixels_HWC, step_);
    for (const auto& [name, values] : task_.histograms()) events_->histogram(name, values, step_);
  }

  void close_epoch() {
    const int64_t epoch = (step_ - 1) / plan_.steps_per_epoch + 1;
    Json line{{"event", "epoch"}, {"epoch", epoch}, {"step", step_}};
    line.update(task_.end_epoch());
    if (step_ == plan_.last_step || epoch % options_.val_every == 0) {
      line.update(task_.validate());
      if (ema_) {
        const Exchanged averages_in_place(*ema_);
        const Json averaged = task_.validate();
        for (const auto& [name, value] : averaged.items()) line["ema_" + name] = value;
      }
    }
    auto damaged = torch::tensor({loader_.damaged()}, torch::kInt64);
    distributed_.sum(damaged);
    if (damaged.item<int64_t>() > 0) line["damaged_images"] = damaged.item<int64_t>();
    run_.log(line);
    if (events_) {
      for (const auto& [name, value] : line.items()) {
        if (value.is_number() && name != "epoch" && name != "step") {
          events_->scalar("epoch/" + name, value.get<double>(), step_);
        }
      }
    }
    progress_->clear();
    const std::string figures = readable(line);
    log().info("epoch {}/{}: {}{}{} left", epoch, plan_.epochs, figures, figures.empty() ? "" : "; ",
               readable_seconds(progress_->seconds_left(step_)));
  }

  /// Collective.
  void save() {
    if (step_ == saved_step_) return;
    drifted_ = true;
    require_equal(distributed_, state_dict(task_.model()));
    drifted_ = false;
    write_checkpoint();
  }

  void write_checkpoint() {
    TensorMap state = checkpoint_tensors(task_.model(), optimizer_, task_.progress());
    add(state, kScale, stepping_.state());
    if (ema_) add(state, kEma, ema_->state());
    run_.save(step_, state, {.last = options_.keep_checkpoints, .every = options_.keep_every});
    saved_step_ = step_;
  }

  /// Waits for the last checkpoint; where it could not be written the log says so.
  void finish_writing() try { run_.finish(); } catch (const std::exception& error) {
    log().error("{}", error.what());
  }

  [[noreturn]] void stop() {
    run_.finish();
    run_.log({{"event", "end"}, {"step", step_}, {"state", "stopped"}});
    progress_->clear();
    throw Stopped(
        fmt::format("training: stopped after step {} of {}, which is saved; the same command goes on from there", step_,
                    plan_.last_step));
  }

  torch::Device device() { return task_.model().parameters().front().device(); }

  TrainingTask& task_;
  Loader& loader_;
  const Plan& plan_;
  const TrainOptions& options_;
  bool sharded_;
  Run& run_;
  Distributed& distributed_;
  AdamW optimizer_;
  TrainingStep stepping_;
  DeviceBatches batches_;
  std::optional<Ema> ema_;
  std::optional<EventWriter> events_;  // on the first rank
  std::optional<Progress> progress_;
  int64_t step_ = 0, begun_step_ = 0, saved_step_ = 0, logged_step_ = 0, loaded_epoch_ = -1;
  double waited_s_ = 0, worked_s_ = 0;  // since the last log line: for a batch, and in all
  double lr_ = 0;
  StepFigures figures_;   // of the last step
  bool begun_ = false;    // the run's folder is this run's
  bool drifted_ = false;  // the ranks' weights differ
};

}  // namespace

TensorMap checkpoint_tensors(const torch::nn::Module& model, const AdamW& optimizer, const TensorMap& progress) {
  TensorMap state;
  add(state, kModel, state_dict(model));
  add(state, kOptimizer, optimizer.state());
  add(state, kProgress, progress);
  return state;
}

void validate_on(Loader& validation, const std::function<void(const Batch&)>& measure) {
  validation.start(/*epoch=*/0);
  while (const auto batch = validation.next()) measure(*batch);
}

Plan plan(const TrainOptions& options, int64_t steps_per_epoch, double peak_lr) {
  TrainOptions checked = options;
  check_ranges(describe(checked), "training");
  const int64_t save_every = options.checkpoint_every > 0 ? options.checkpoint_every : steps_per_epoch;
  require(options.keep_every % save_every == 0,
          "training: expected --keep-every to be a multiple of the {} steps between checkpoints, got {}; change it or "
          "--checkpoint-every",
          save_every, options.keep_every);
  require(options.epochs > 0 || options.steps > 0, "training: expected --epochs or --steps, got neither; set one");
  const int64_t all = options.epochs > 0 ? options.epochs * steps_per_epoch : options.steps;
  const int64_t warmup = options.warmup_steps > 0 ? options.warmup_steps : options.warmup_epochs * steps_per_epoch;
  return {.steps_per_epoch = steps_per_epoch,
          .epochs = (all + steps_per_epoch - 1) / steps_per_epoch,
          .last_step = options.steps > 0 ? std::min(options.steps, all) : all,
          .lr = {.peak = peak_lr,
                 .last = options.min_lr,
                 .steps = all,
                 .warmup_steps = std::min(warmup, all),
                 .fall = options.lr_schedule == "linear" ? Fall::kLinear : Fall::kCosine}};
}

bool finished(const Run& run, const std::optional<Checkpoint>& state, const Plan& plan) {
  if (!state || state->step < plan.last_step || !run.has_weights()) return false;
  if (state->step == plan.last_step && !run.has_epoch(state->step)) return false;
  log().info("{}: finished at step {}; a larger --epochs or --steps goes on, --resume never starts anew",
             run.folder().string(), state->step);
  return true;
}

void train(TrainingTask& task, Loader& loader, const Plan& plan, const TrainOptions& options,
           const RankOptions& rank_options, Run& run, Distributed& distributed, const std::optional<Checkpoint>& state,
           const std::function<bool()>& should_stop) {
  if (distributed.leads()) warn_of_rising(plan.lr);
  Training training(task, loader, plan, options, rank_options, run, distributed);
  try {
    training.begin(state);
    training.go_on(should_stop);
  } catch (const Stopped&) {
    throw;
  } catch (const std::exception& error) {
    training.end_with(error.what());
    throw;
  }
}

}  // namespace beit
