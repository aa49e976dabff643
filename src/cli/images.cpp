#include "cli/images.h"

#include "base/error.h"

namespace beit {

Dataset open_images(const std::vector<std::string>& paths, std::string_view flag) {
  require(!paths.empty(), "{}: expected images, got none; set --{} PATH, a folder or tar file", flag, flag);
  return Dataset::open(std::vector<std::filesystem::path>(paths.begin(), paths.end()));
}

void require_apart(const std::filesystem::path& output, const std::filesystem::path& weights,
                   const std::vector<std::string>& data) {
  std::vector<std::filesystem::path> inputs{weights};
  inputs.insert(inputs.end(), data.begin(), data.end());
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(weights, ignored)) inputs.push_back(entry.path());
  for (const auto& input : inputs) {
    std::error_code missing;
    require(!std::filesystem::equivalent(output, input, missing),
            "{}: expected an output apart from what is read, got {} itself; choose another place", output.string(),
            input.string());
  }
}

}  // namespace beit
