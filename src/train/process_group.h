// The connections between ranks: LibTorch's store for what they tell one another, Gloo and NCCL for tensors. From the
// first one on the process ignores SIGPIPE, unless it has a handler of its own.
#pragma once

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace c10d {
class Backend;
class ProcessGroup;
class Store;
}  // namespace c10d

namespace beit {

struct RankPlace;

/// A store that the starter of ranks on this machine serves them: on the loopback interface, at a free port, for as
/// long as this object lives.
class LoopbackStore {
 public:
  LoopbackStore();
  ~LoopbackStore();
  LoopbackStore(const LoopbackStore&) = delete;
  LoopbackStore& operator=(const LoopbackStore&) = delete;

  int64_t port() const { return port_; }

 private:
  int64_t port_ = 0;
  c10::intrusive_ptr<c10d::Store> store_;
};

/// Serves the store at `place.port`, on rank 0's machine. Error where the port is taken.
c10::intrusive_ptr<c10d::Store> serve_store(const RankPlace& place, std::chrono::milliseconds timeout);

/// A connection to it; keys are below `place.run`. Error where nothing answers within the timeout.
c10::intrusive_ptr<c10d::Store> connect_store(const RankPlace& place, std::chrono::milliseconds timeout);

/// Gloo for tensors on the CPU; for those on `device`, where that is a GPU, NCCL. Every rank calls it at the same time.
/// Error where the engine lacks NCCL, or this machine an address that the others reach (GLOO_SOCKET_IFNAME names an
/// interface).
c10::intrusive_ptr<c10d::ProcessGroup> connect_group(const c10::intrusive_ptr<c10d::Store>& store,
                                                     const RankPlace& place, const c10::Device& device,
                                                     std::chrono::milliseconds timeout);

/// NCCL's part of it, in a file of its own, which is compiled where NVIDIA's headers are.
c10::intrusive_ptr<c10d::Backend> connect_nccl(const c10::intrusive_ptr<c10d::Store>& store, int rank, int ranks,
                                               std::chrono::milliseconds timeout);

}  // namespace beit
