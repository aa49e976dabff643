#include "io/last_lines.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "base/error.h"

namespace beit {

void read_last_lines(const std::filesystem::path& path, int64_t most_bytes,
                     const std::function<bool(std::string_view line)>& visit) {
  constexpr int64_t kBlockBytes = 1 << 16;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  require(file.good(), "{}: expected a file, got none that can be read", path.string());
  int64_t start = file.tellg();
  const int64_t first = std::max<int64_t>(0, start - most_bytes);
  std::string held;    // what was read and not handed on yet, up to the line break that ends it
  bool ended = false;  // whether a line break was met
  while (start > first) {
    const int64_t bytes = std::min(kBlockBytes, start - first);
    start -= bytes;
    std::string block(static_cast<size_t>(bytes), '\0');
    file.seekg(start);
    file.read(block.data(), bytes);
    require(file.good(), "{}: expected {} bytes at offset {}, got an error", path.string(), bytes, start);
    size_t end = block.size();  // of what is not handed on
    for (size_t at = block.rfind('\n'); at != std::string::npos;
         at = at == 0 ? std::string::npos : block.rfind('\n', at - 1)) {
      const std::string line = block.substr(at + 1, end - at - 1) + held;
      if (ended && !visit(line)) return;
      held.clear();
      ended = true;
      end = at;
    }
    held.insert(0, block, 0, end);
  }
  if (start == 0 && ended) visit(held);
}

}  // namespace beit
