// What commands share that write a row for each image: the images' paths in the file's header, and damaged images.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/loader.h"

namespace beit {

/// The paths travel in the file's header; readers, ours too, spend several times its size (io/allowance.h). Error,
/// which starts with the command, where they are too long for a file of `data_bytes`.
void require_fitting_paths(const Dataset& images, int64_t data_bytes, std::string_view command);

/// As the metadata's `paths` has them: a JSON list.
std::string paths_metadata(const std::vector<std::string>& paths);

/// The loader's next batch; its Error for a damaged image also says that --skip-damaged leaves such images out.
std::optional<Batch> next_rows(Loader& loader);

}  // namespace beit
