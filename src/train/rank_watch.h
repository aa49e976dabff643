// Who of the processes that train together is alive, and why one is not: each tells the store every second that it
// lives, and leaves a note when it ends.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace c10d {
class Store;
}

namespace beit {

/// Beats from a thread of its own, over a connection of its own, until it is destroyed. No method waits longer than its
/// comment says, whatever has become of the store. Not thread-safe.
class RankWatch {
 public:
  /// How long lost_ranks() takes at most.
  static constexpr std::chrono::seconds kLongestSearch{8};

  /// `store` is used by nobody else. `hosts`: each rank's machine. `server` names what serves the store, for messages.
  RankWatch(c10::intrusive_ptr<c10d::Store> store, int64_t rank, std::vector<std::string> hosts, std::string server);
  ~RankWatch();
  RankWatch(const RankWatch&) = delete;
  RankWatch& operator=(const RankWatch&) = delete;

  /// Notes that this rank enters an operation of all ranks.
  void enter();

  /// Which ranks have ended, stopped or fallen behind, and why: "rank 2 (host b) was ended: ..."; empty where all are
  /// alive and equally far. What the first rank to ask found is what all others hear.
  std::string lost_ranks();

  /// Tells the others that this rank ends for a reason of its own. Within 2 s.
  void tell_failure(const std::string& message);
  /// Tells the others that this rank is done. Within 2 s.
  void tell_end();
  /// Waits until all ranks but the lost ones have told their end, `bound` at most.
  void wait_for_ends(std::chrono::milliseconds bound);

 private:
  struct Shared;
  static void beat(const std::shared_ptr<Shared>& shared, const c10::intrusive_ptr<c10d::Store>& store);
  template <class Result>
  Result ask(std::function<Result(c10d::Store&)> question);
  std::string name(size_t rank) const;
  struct Finding;
  Finding search();
  /// Tells all, and returns what they hear: the first finding.
  std::string publish(const Finding& finding);

  const int64_t rank_;
  const std::vector<std::string> hosts_;
  const std::string server_;
  std::shared_ptr<Shared> shared_;  // with the thread, which may outlive this where the store hangs
};

}  // namespace beit
