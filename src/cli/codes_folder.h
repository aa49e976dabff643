// The folder that `beit codes` writes: what each code stands for, in pictures and numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "base/config.h"
#include "data/dataset.h"
#include "io/output_folder.h"
#include "viz/atlas.h"

namespace beit {

/// Into the folder: of each of the codes `chosen` a picture `code-00042.png` (viz/code_card.h), `overview.png` with all
/// of them, and last `atlas.csv` with a row for each code of the codebook: code, uses, share of all uses, images,
/// similarity (mean; empty without use). Files of these names are replaced, others stay as they are. `model` is
/// resolved. Holds the examples of some codes in memory at a time. Error that names an image that cannot be read any
/// more.
void write_code_folder(const OutputFolder& folder, const CodeAtlas& atlas, const std::vector<int64_t>& chosen,
                       const Dataset& images, const ModelOptions& model, const DataOptions& data, bool quiet);

}  // namespace beit
