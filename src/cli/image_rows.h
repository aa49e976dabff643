// The images' paths in the header of a file that has a row for each image.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace beit {

/// The paths travel in the file's header; readers, ours too, spend several times its size (io/allowance.h). Error,
/// which starts with the command, where they are too long for a file of `data_bytes`.
void require_fitting_paths(const Dataset& images, int64_t data_bytes, std::string_view command);

/// As the metadata's `paths` has them: a JSON list.
std::string paths_metadata(const std::vector<std::string>& paths);

}  // namespace beit
