// The lines of a log from its end, without reading all of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

namespace beit {

/// Hands the lines of a file to `visit`, the last one first, until that returns false or `most_bytes` are read. What
/// stands after the last line break, which a process is writing or a killed one left, is no line; one that begins
/// before the bytes that may be read is left out. Empty lines count. Error where the file cannot be read.
void read_last_lines(const std::filesystem::path& path, int64_t most_bytes,
                     const std::function<bool(std::string_view line)>& visit);

}  // namespace beit
