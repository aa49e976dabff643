#include "train/distributed.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <future>
#include <thread>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "base/text.h"
#include "train/process_group.h"
#include "train/rank_watch.h"

namespace beit {

struct Distributed::Joined {
  c10::intrusive_ptr<c10d::Store> server;  // of rank 0, where it serves
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  std::unique_ptr<RankWatch> watch;
};

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string host_key(size_t rank) { return fmt::format("host/{}", rank); }

std::string server_name(const RankPlace& place) {
  return fmt::format("{}, which serves the store at {}:{},", place.store_is_hosted ? "the starter" : "rank 0",
                     place.host, place.port);
}

/// Every rank's machine, once all have come. Error that names those who have not; the first to give up tells the
/// others.
std::vector<std::string> meet(c10d::Store& store, const RankPlace& place, seconds timeout) {
  constexpr const char* kGivenUp = "given up";
  constexpr seconds kHeard{1};  // that all hear of it before the store goes
  const auto ranks = static_cast<size_t>(place.ranks);
  store.set(host_key(static_cast<size_t>(place.rank)), host_name());
  std::vector<std::string> hosts(ranks);
  for (const auto start = Clock::now();;) {
    size_t missing = 0;
    std::string names;
    for (size_t rank = 0; rank < ranks; ++rank) {
      if (!hosts[rank].empty()) continue;
      if (store.check({host_key(rank)})) {
        hosts[rank] = store.get_to_str(host_key(rank));
      } else if (++missing <= 8) {
        names += fmt::format("{}{}", names.empty() ? "" : ", ", rank);
      }
    }
    if (missing == 0) return hosts;
    if (store.check({kGivenUp})) fail("{}", store.get_to_str(kGivenUp));
    if (Clock::now() - start >= timeout) {
      const std::string message = fmt::format(
          "ranks: expected {} ranks to join within {} s, got {}; missing: rank {}{}; see their own messages, or raise "
          "--rank-timeout",
          ranks, timeout.count(), ranks - missing, names, missing > 8 ? " and more" : "");
      store.set(kGivenUp, message);
      std::this_thread::sleep_for(kHeard);
      fail("{}", message);
    }
    std::this_thread::sleep_for(milliseconds(50));
  }
}

struct Meeting {
  c10::intrusive_ptr<c10d::Store> server, watch_store;
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  std::vector<std::string> hosts;
};

Meeting join(const RankPlace& place, const torch::Device& device, seconds timeout) try {
  Meeting meeting;
  if (place.rank == 0 && !place.store_is_hosted) meeting.server = serve_store(place, timeout);
  const auto store = connect_store(place, timeout);
  meeting.watch_store = connect_store(place, timeout);
  meeting.hosts = meet(*store, place, timeout);
  meeting.group = connect_group(store, place, device, timeout);
  return meeting;
} catch (const Error&) {
  throw;
} catch (const std::exception& error) {
  fail(
      "ranks: expected {} ranks to join by the store at {}:{}, got an error: {}; see the other ranks' messages; "
      "GLOO_SOCKET_IFNAME names the network's interface",
      place.ranks, place.host, place.port, first_line(error.what()));
}

/// What join() gives; but where the network swallows its questions, an Error.
Meeting join_in_time(const RankPlace& place, const torch::Device& device, seconds timeout) {
  auto promise = std::make_shared<std::promise<Meeting>>();
  auto future = promise->get_future();
  std::thread([promise, place, device, timeout] {
    try {
      promise->set_value(join(place, device, timeout));
    } catch (...) {
      promise->set_exception(std::current_exception());
    }
  }).detach();
  require(future.wait_for(3 * timeout + seconds(5)) == std::future_status::ready,
          "ranks: expected to join {} ranks by the store at {}:{}, got no answer; is the network cut off?", place.ranks,
          place.host, place.port);
  return future.get();
}

/// Whether what was thrown came from the connections between ranks.
bool is_of_connection(const std::exception& error) {
  if (dynamic_cast<const c10::DistError*>(&error) != nullptr) return true;
  const std::string text = error.what();
  return text.find("gloo") != std::string::npos || text.find("NCCL") != std::string::npos;
}

}  // namespace

static_assert(Distributed::kLongestSearch == RankWatch::kLongestSearch);

Distributed::Distributed() = default;

Distributed::Distributed(const RankPlace& place, const torch::Device& device, seconds timeout)
    : place_(place), timeout_(timeout) {
  require(place.ranks >= 1 && place.rank >= 0 && place.rank < place.ranks, "ranks: expected a rank in [0, {}), got {}",
          place.ranks, place.rank);
  require(timeout.count() >= 1, "ranks: expected a timeout of at least 1 s, got {}", timeout.count());
  if (place.ranks == 1) return;
  Meeting meeting = join_in_time(place, device, timeout);
  joined_ = std::make_unique<Joined>();
  joined_->server = std::move(meeting.server);
  joined_->group = std::move(meeting.group);
  joined_->watch = std::make_unique<RankWatch>(std::move(meeting.watch_store), place.rank, std::move(meeting.hosts),
                                               server_name(place));
}

Distributed::~Distributed() {
  if (!joined_) return;
  joined_->group.reset();  // the others, in a collective, see it at once
  joined_->watch->tell_end();
  if (joined_->server) joined_->watch->wait_for_ends(seconds(5));
}

void Distributed::sum(torch::Tensor& tensor) {
  if (!joined_ || tensor.numel() == 0) return;
  const torch::NoGradGuard no_grad;
  std::vector<at::Tensor> whole = {tensor.contiguous()};
  guard([&] { joined_->group->allreduce(whole)->wait(); });
  if (whole[0].data_ptr() != tensor.data_ptr()) tensor.copy_(whole[0]);
}

void Distributed::broadcast(torch::Tensor& tensor, int64_t from) {
  require(from >= 0 && from < ranks(), "ranks: expected a rank in [0, {}) to give its tensor, got {}", ranks(), from);
  if (!joined_ || tensor.numel() == 0) return;
  const torch::NoGradGuard no_grad;
  std::vector<at::Tensor> whole = {tensor.contiguous()};
  c10d::BroadcastOptions options;
  options.rootRank = from;
  guard([&] { joined_->group->broadcast(whole, options)->wait(); });
  if (whole[0].data_ptr() != tensor.data_ptr()) tensor.copy_(whole[0]);
}

torch::Tensor Distributed::exchange(const torch::Tensor& tensor, int64_t with) {
  require(with >= 0 && with < ranks(), "ranks: expected a rank in [0, {}) to exchange with, got {}", ranks(), with);
  if (!joined_ || tensor.numel() == 0) return tensor;
  const torch::NoGradGuard no_grad;
  std::vector<at::Tensor> given = {tensor.detach().contiguous()}, taken = {torch::empty_like(given[0])};
  guard([&] {
    if (with == rank()) return;
    const auto send = [&] { return joined_->group->send(given, static_cast<int>(with), /*tag=*/0); };
    const auto receive = [&] { return joined_->group->recv(taken, static_cast<int>(with), /*tag=*/0); };
    // On a GPU one follows the other: where both sent first, both would wait.
    const auto first = rank() < with ? send() : receive(), second = rank() < with ? receive() : send();
    first->wait();
    second->wait();
  });
  return with == rank() ? tensor : taken[0];
}

std::vector<int64_t> Distributed::gather(int64_t value) {
  auto values_R = torch::zeros({ranks()}, torch::kInt64);
  values_R[rank()] = value;
  sum(values_R);
  return {values_R.data_ptr<int64_t>(), values_R.data_ptr<int64_t>() + ranks()};
}

Ranks Distributed::as_ranks() {
  return {.rank = rank(), .size = ranks(), .sum = [this](torch::Tensor& tensor) { sum(tensor); }};
}

void Distributed::guard(const std::function<void()>& work) {
  if (!joined_) return work();
  joined_->watch->enter();
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    if (!is_of_connection(error)) throw;
    fail_for_lost_rank(first_line(error.what()));
  }
}

void Distributed::fail_for_lost_rank(const std::string& symptom) {
  lost_ = true;
  if (const std::string lost = joined_->watch->lost_ranks(); !lost.empty()) {
    fail("ranks: rank {} cannot go on without the others: {}", rank(), lost);
  }
  fail(
      "ranks: expected rank {} to reach all others within {} s, got an error, though all are alive: {}; is a part of "
      "the network cut off?",
      rank(), timeout_.count(), symptom);
}

void Distributed::tell_failure(const std::string& message) noexcept {
  if (joined_ && !lost_) joined_->watch->tell_failure(first_line(message));
}

const c10::intrusive_ptr<c10d::ProcessGroup>& Distributed::group() const {
  require(joined_ != nullptr, "ranks: expected several ranks, got one, which has no group");
  return joined_->group;
}

}  // namespace beit
