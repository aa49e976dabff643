#include "viz/web_files.h"

#include <algorithm>

#include "base/error.h"

namespace beit {

const ShippedFile& web_file(std::string_view name) {
  const auto& files = shipped_web();
  const auto found = std::ranges::find(files, name, &ShippedFile::name);
  require(found != files.end(), "web: expected a file that the program carries, got '{}'", name);
  return *found;
}

}  // namespace beit
