// Files that are there whole or not at all.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

namespace beit {

/// Appends bytes to the file being written; Error where the disk refuses them.
using Sink = std::function<void(std::string_view bytes)>;

/// Writes what `writer` hands to its sink into a temporary file beside `path` (".NAME.PID-N.tmp"), syncs it, renames
/// it over `path` and syncs the folder. If anything fails, or `writer` throws, the temporary file is removed and an
/// old file at `path` is what it was; a killed process leaves at most the temporary file. The folder must exist; a
/// symbolic link to a file is followed; anything else than a regular file at `path` is an Error.
/// Different paths may be written from different threads.
void write_file_atomically(const std::filesystem::path& path, const std::function<void(const Sink&)>& writer);

/// The same for bytes at hand.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Removes what killed processes left in `folder` of files whose names start with `prefix`. No other process may be
/// writing such files there.
void remove_unfinished(const std::filesystem::path& folder, std::string_view prefix);

/// Error where a file at `path` could not be written, to be found out before long work and not after it.
void require_writable(const std::filesystem::path& path);

}  // namespace beit
