// Reads and decodes images to find those that are damaged.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace beit {

struct Damage {
  int64_t index = 0;   ///< in the dataset
  std::string reason;  ///< begins with the path
};

struct Checked {
  int64_t bytes = 0;                 ///< read: of the encoded images
  std::vector<Damage> damaged = {};  ///< by index
};

/// Reads and decodes the images [first, first + count) by `workers` threads. Error unless these are images.
Checked check_images(const Dataset& dataset, int64_t first, int64_t count, int64_t workers);

}  // namespace beit
