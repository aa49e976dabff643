// The images that --data and --val-data name.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"

namespace beit {

/// Error that names the flag where there are no paths, else as Dataset::open().
Dataset open_images(const std::vector<std::string>& paths, std::string_view flag);

}  // namespace beit
