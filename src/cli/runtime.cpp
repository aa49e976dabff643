#include "cli/runtime.h"

#include <ATen/Version.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Logging.h>
#include <spdlog/sinks/sink.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string_view>
#include <thread>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "base/error.h"
#include "base/log.h"

namespace beit {
namespace {

/// Every rank but the first is silent unless something is amiss, and then says which it is.
void set_log(const RuntimeOptions& options, const RankPlace& place) {
  if (options.quiet || place.rank > 0) log().set_level(spdlog::level::warn);
  if (place.rank == 0) return;
  for (const auto& sink : log().sinks()) sink->set_pattern(fmt::format("beit: %l: rank {}: %v", place.rank));
}

/// LibTorch tells of lost connections by itself, in pages; ours is one line. TORCH_CPP_LOG_LEVEL lets it speak.
void silence_engine() {
  constexpr int kFatal = 3;  // glog's number
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = kFatal;
}

/// A step's large tensors are those of the step before: memory that is given back in between comes again page by page,
/// each cleared by the system. Where the user has set malloc's thresholds, they stand.
void keep_memory() {
#if defined(__GLIBC__)
  const char* const tunables = std::getenv("GLIBC_TUNABLES");
  const bool set =
      (tunables != nullptr && std::string_view(tunables).find("glibc.malloc.") != std::string_view::npos) ||
      std::getenv("MALLOC_MMAP_THRESHOLD_") != nullptr || std::getenv("MALLOC_TRIM_THRESHOLD_") != nullptr;
  if (set) return;
  constexpr int kNever = std::numeric_limits<int>::max();
  // An older library refuses, and is better left alone then.
  if (mallopt(M_MMAP_THRESHOLD, kNever) != 0) mallopt(M_TRIM_THRESHOLD, kNever);
#endif
}

}  // namespace

torch::Device apply(const RuntimeOptions& options, const RankPlace& place) {
  set_log(options, place);
  if (place.ranks > 1) silence_engine();
  keep_memory();
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency() / place.local_ranks);
  const int64_t threads = options.threads == 0 ? cores : options.threads;
  at::set_num_threads(static_cast<int>(threads));

  const bool has_cuda = at::hasCUDA() && torch::cuda::is_available();
  require(options.device != "cuda" || at::hasCUDA(),
          "device: expected an engine with CUDA, got LibTorch {}'s CPU build; use --device cpu", TORCH_VERSION);
  require(options.device != "cuda" || has_cuda, "device: expected a CUDA GPU, found none; use --device cpu");
  const bool on_gpu = has_cuda && options.device != "cpu";
  if (on_gpu) {
    const auto gpus = static_cast<int64_t>(torch::cuda::device_count());
    require(place.local_rank < gpus,
            "device: expected a GPU for each of the {} ranks here, got {}; start as many ranks", place.local_ranks,
            gpus);
    c10::impl::getDeviceGuardImpl(torch::kCUDA)
        ->setDevice(torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(place.local_rank)));
  }
  const torch::Device device = on_gpu ? torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(place.local_rank))
                                      : torch::Device(torch::kCPU);
  const std::string ranks = place.ranks > 1 ? fmt::format(", {} ranks", place.ranks) : "";
  log().info("device {}, {} thread{}{}", device.str(), threads, threads == 1 ? "" : "s", ranks);
  return device;
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  std::string name = "unknown";
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    name = line.substr(std::min(line.size(), line.find(':') + 2));
    break;
  }
  return fmt::format("{} ({})", name, at::get_cpu_capability());
}

}  // namespace beit
