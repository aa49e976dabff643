// Compiled only where NVIDIA's headers are: see CMakeLists.txt.
#define USE_C10D_NCCL  // LibTorch's name for: declare ProcessGroupNCCL
#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "train/process_group.h"

namespace beit {

c10::intrusive_ptr<c10d::Backend> connect_nccl(const c10::intrusive_ptr<c10d::Store>& store, int rank, int ranks,
                                               std::chrono::milliseconds timeout) {
  // Else waiting returns at once and a rank that hangs ends the process from another thread, without our message. The
  // loop reads each step's loss, so waiting costs nothing.
  setenv("TORCH_NCCL_BLOCKING_WAIT", "1", /*overwrite=*/0);
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, ranks, options);
}

}  // namespace beit
