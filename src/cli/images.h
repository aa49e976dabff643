// The images that --data and --val-data name, and files that must not be written over them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace beit {

/// Error that names the flag where there are no paths, else as Dataset::open().
Dataset open_images(const std::vector<std::string>& paths, std::string_view flag);

/// Error where --output names a file that is also read: the file `weights` or anything in the folder `weights`, or one
/// of `data`.
void require_apart(const std::filesystem::path& output, const std::filesystem::path& weights,
                   const std::vector<std::string>& data);

}  // namespace beit
