#include "cli/runtime.h"

#include <ATen/Version.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/log.h"

namespace beit {

torch::Device apply(const RuntimeOptions& options) {
  if (options.quiet) log().set_level(spdlog::level::warn);
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  const int64_t threads = options.threads == 0 ? cores : options.threads;
  at::set_num_threads(static_cast<int>(threads));

  const bool has_cuda = at::hasCUDA() && torch::cuda::is_available();
  require(options.device != "cuda" || at::hasCUDA(),
          "device: expected an engine with CUDA, got LibTorch {}'s CPU build; use --device cpu", TORCH_VERSION);
  require(options.device != "cuda" || has_cuda, "device: expected a CUDA GPU, found none; use --device cpu");
  const torch::Device device = has_cuda && options.device != "cpu" ? torch::Device("cuda:0") : torch::Device("cpu");
  log().info("device {}, {} thread{}", device.str(), threads, threads == 1 ? "" : "s");
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
