#include "cli/image_rows.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace beit {

void require_fitting_paths(const Dataset& images, int64_t data_bytes, std::string_view command) {
  constexpr int64_t kQuotes = 6, kCopies = 3;
  const int64_t most_bytes = std::min<int64_t>(95'000'000, (45'000'000 + data_bytes) / kCopies);
  int64_t path_bytes = 0;
  for (int64_t i = 0; i < images.size(); ++i) path_bytes += std::ssize(images.path(i)) + kQuotes;
  require(path_bytes <= most_bytes, "{}: expected paths of at most {} bytes in all, got {}; give the data in parts",
          command, most_bytes, path_bytes);
}

std::string paths_metadata(const std::vector<std::string>& paths) {
  return nlohmann::json(paths).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace beit
