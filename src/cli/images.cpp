#include "cli/images.h"

#include "base/error.h"

namespace beit {

Dataset open_images(const std::vector<std::string>& paths, std::string_view flag) {
  require(!paths.empty(), "{}: expected images, got none; set --{} PATH, a folder or tar file", flag, flag);
  return Dataset::open(std::vector<std::filesystem::path>(paths.begin(), paths.end()));
}

}  // namespace beit
