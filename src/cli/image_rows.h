// What commands share that look at every image: the images' paths in a file's header, and damaged images.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "data/dataset.h"
#include "data/loader.h"

namespace beit {

/// The paths travel in the file's header; readers, ours too, spend several times its size (io/allowance.h). Error,
/// which starts with the command, where they are too long for a file of `data_bytes`.
void require_fitting_paths(const Dataset& images, int64_t data_bytes, std::string_view command);

/// As the metadata's `paths` has them: a JSON list.
std::string paths_metadata(const std::vector<std::string>& paths);

/// The next batch of a Loader or DeviceBatches; its Error for a damaged image also says that --skip-damaged leaves such
/// images out.
template <class Batches>
std::optional<Batch> next_rows(Batches& batches) try {
  return batches.next();
} catch (const Error& error) {
  fail("{}; --skip-damaged leaves such images out", error.what());
}

/// Warns of so many images that --skip-damaged left out; of none says nothing.
void warn_of_left_out(int64_t damaged);

}  // namespace beit
