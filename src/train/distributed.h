// The processes that train together: sums over all of them, and an Error where one is lost.
#pragma once

#include <torch/torch.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/ranks.h"
#include "train/rank_place.h"

namespace c10d {
class ProcessGroup;
}

namespace beit {

/// This process as one of several ranks, or alone: then every collective is the identity.
///
/// Collective methods are called by all ranks in the same order, each from one thread. Whatever becomes of another rank
/// or of the network, they end within the timeout and kLongestSearch after it: with an Error that names the ranks that
/// failed (and their message), gave no sign of life, ended before or fell behind. After such an Error nothing but
/// tell_failure() and destruction is of use.
class Distributed {
 public:
  /// What finding out about a lost rank takes at most, beyond the timeout.
  static constexpr std::chrono::seconds kLongestSearch{8};
  /// What the end of this object takes at most: rank 0 serves the store until all have ended.
  static constexpr std::chrono::seconds kLongestEnd{9};

  Distributed();
  /// Joins the others, collectively. `timeout` is that of each collective method, and of waiting for all to come: Error
  /// that names those who have not; where the network swallows what is asked, after three times the timeout and 5 s.
  /// Tensors on `device` or the CPU can be summed. Error where the device is a GPU and the program was built without
  /// NCCL.
  Distributed(const RankPlace& place, const torch::Device& device, std::chrono::seconds timeout);
  ~Distributed();
  Distributed(const Distributed&) = delete;
  Distributed& operator=(const Distributed&) = delete;

  int64_t rank() const { return place_.rank; }
  int64_t ranks() const { return place_.ranks; }
  /// Whether this is rank 0, which writes and prints.
  bool leads() const { return place_.rank == 0; }

  /// Adds the tensor over all ranks, in place. The same shape and type everywhere: floating-point numbers, or integers
  /// of 8, 32 or 64 bits. Collective.
  void sum(torch::Tensor& tensor);
  /// Gives rank `from`'s tensor to all, in place. Collective.
  void broadcast(torch::Tensor& tensor, int64_t from);
  /// Gives the tensor to rank `with`, and returns that rank's, of the same shape and type; with itself a rank exchanges
  /// nothing. Every rank calls it, one of each pair with the other. Collective.
  torch::Tensor exchange(const torch::Tensor& tensor, int64_t with);
  /// Every rank's value, by rank. Collective.
  std::vector<int64_t> gather(int64_t value);

  /// For networks that sum over ranks (the codebook, batch norm), which this object must outlive.
  Ranks as_ranks();

  /// Runs `work`, which enters collective operations by itself (a backward pass that reduces gradients), and turns what
  /// a lost rank makes it throw into the Error. Other exceptions pass. Collective.
  void guard(const std::function<void()>& work);

  /// Tells the others why this rank ends, for their messages; to be called with what it threw. Nothing where it ends
  /// for the loss of another rank.
  void tell_failure(const std::string& message) noexcept;

  /// For the reduction of gradients. Error where this process is alone.
  const c10::intrusive_ptr<c10d::ProcessGroup>& group() const;

 private:
  struct Joined;
  [[noreturn]] void fail_for_lost_rank(const std::string& symptom);

  RankPlace place_;
  std::chrono::seconds timeout_{0};
  std::unique_ptr<Joined> joined_;  // none where alone
  bool lost_ = false;               // another rank was, and the Error of it thrown
};

}  // namespace beit
