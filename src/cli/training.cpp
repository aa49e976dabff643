#include "cli/training.h"

#include <chrono>
#include <exception>
#include <optional>
#include <string>

#include "base/stopped.h"
#include "cli/interrupt.h"
#include "cli/launch.h"
#include "cli/runtime.h"
#include "train/step.h"

namespace beit {
namespace {

/// For ranks beside the first: which one says it.
std::string named(const Distributed& distributed, const Error& error) {
  return fmt::format("rank {}: {}", distributed.rank(), error.what());
}

}  // namespace

void on_ranks(const RankOptions& ranks, const RuntimeOptions& runtime, const TrainOptions& train,
              const RankWork& work) {
  const auto started = rank_place();
  check_divides(train, started ? started->ranks : ranks.ranks);  // before there are many who would all say it
  if (supervise(ranks)) return;
  const auto stop = stop_on_signal();
  const RankPlace place = started.value_or(RankPlace{});
  const torch::Device device = apply(runtime, place);
  std::optional<Distributed> joined;
  if (place.ranks > 1) {
    joined.emplace(place, device, std::chrono::seconds(ranks.rank_timeout));
  } else {
    joined.emplace();
  }
  Distributed& distributed = *joined;
  const auto should_stop = [&] {
    if (distributed.ranks() == 1) return stop();
    auto stopped = torch::tensor({stop() ? 1 : 0}, torch::kInt64);
    distributed.sum(stopped);
    return stopped.item<int64_t>() > 0;  // not stop() again: the others know nothing of what has come since
  };
  try {
    work(distributed, device, should_stop);
  } catch (const Stopped& stopped) {
    if (distributed.leads()) throw;
    throw Stopped(named(distributed, stopped));
  } catch (const Error& error) {
    distributed.tell_failure(error.what());
    if (distributed.leads()) throw;
    throw Error(named(distributed, error));
  } catch (const std::exception& error) {
    distributed.tell_failure(error.what());
    throw;
  }
}

}  // namespace beit
