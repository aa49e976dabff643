#include "cli/resources.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <torch/torch.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace beit {
namespace {

namespace fs = std::filesystem;

/// The first number in a file of the kernel; nothing where there is none, as in "max".
std::optional<int64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

/// The number after a name in a file of such pairs.
std::optional<int64_t> number_of(const fs::path& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    if (int64_t value = 0; word == name && file >> value) return value;
  }
  return std::nullopt;
}

/// What is left in one control group: files that the kernel keeps in memory give way.
std::optional<int64_t> left_in(const fs::path& limit_file, const fs::path& used_file) {
  const auto limit = number_in(limit_file), used = number_in(used_file);
  if (!limit || !used) return std::nullopt;
  const int64_t cached = number_of(limit_file.parent_path() / "memory.stat", "inactive_file").value_or(0);
  return std::max<int64_t>(0, *limit - *used + cached);
}

/// The smallest room in the control groups above this process.
std::optional<int64_t> left_in_groups() {
  std::optional<int64_t> least;
  const auto note = [&](std::optional<int64_t> left) {
    if (left && (!least || *left < *least)) least = left;
  };
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string kinds = line.substr(first + 1, second - first - 1), name = line.substr(second + 1);
    const bool is_second_version = kinds.empty();
    if (!is_second_version && kinds != "memory") continue;
    const fs::path root = is_second_version ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    // Within a container the names may be those outside; then the root alone is there.
    for (fs::path group = fs::path(name).relative_path();; group = group.parent_path()) {
      const fs::path folder = root / group;
      note(is_second_version ? left_in(folder / "memory.max", folder / "memory.current")
                             : left_in(folder / "memory.limit_in_bytes", folder / "memory.usage_in_bytes"));
      if (group.empty()) break;
    }
  }
  return least;
}

/// Engines before this question was there do not answer it.
template <class Allocator>
std::optional<int64_t> free_bytes(Allocator* allocator, c10::DeviceIndex device) {
  if constexpr (requires { allocator->getMemoryInfo(device).first; }) {
    return static_cast<int64_t>(allocator->getMemoryInfo(device).first);
  } else {
    return std::nullopt;
  }
}

}  // namespace

std::optional<int64_t> available_memory() {
  const auto kilobytes = number_of("/proc/meminfo", "MemAvailable:");
  const auto in_groups = left_in_groups();
  if (!kilobytes) return in_groups;
  const int64_t bytes = *kilobytes * 1024;
  return in_groups ? std::min(bytes, *in_groups) : bytes;
}

std::optional<int64_t> available_device_memory(int64_t device) try {
  if (!at::hasCUDA() || !torch::cuda::is_available()) return std::nullopt;
  at::globalContext().lazyInitDevice(at::kCUDA);
  return free_bytes(at::getDeviceAllocator(at::kCUDA), static_cast<c10::DeviceIndex>(device));
} catch (const c10::Error&) {
  return std::nullopt;  // another process may have all of it
}

std::optional<int64_t> available_disk(const fs::path& path) {
  std::error_code error;
  const auto space = fs::space(nearest_folder(path), error);
  const bool told = !error && space.available <= static_cast<uintmax_t>(std::numeric_limits<int64_t>::max());
  return told ? std::optional(static_cast<int64_t>(space.available)) : std::nullopt;
}

fs::path nearest_folder(const fs::path& path) {
  std::error_code ignored;
  fs::path folder = fs::absolute(path, ignored).lexically_normal();
  while (!fs::is_directory(folder, ignored) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

}  // namespace beit
