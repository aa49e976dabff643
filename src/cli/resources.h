// What this machine has to give to a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace beit {

/// Bytes that a new process may take before others have to give way: what the kernel calls available, or less where a
/// control group allows less. Nothing where the system does not tell.
std::optional<int64_t> available_memory();

/// Bytes free on the GPU of that number. Nothing without one, or where the engine does not tell.
std::optional<int64_t> available_device_memory(int64_t device);

/// Bytes that may be written on the file system on which `path` lies or will lie.
std::optional<int64_t> available_disk(const std::filesystem::path& path);

/// `path`, or the nearest folder above it that exists.
std::filesystem::path nearest_folder(const std::filesystem::path& path);

}  // namespace beit
