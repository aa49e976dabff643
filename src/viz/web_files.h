// What pages that the program writes or serves are made of: the files of web/, compiled in.
#pragma once

#include <string_view>
#include <vector>

#include "base/shipped_file.h"

namespace beit {

/// web/*.{css,html,js}, in the order of their names, which have their suffix: `report.css`.
const std::vector<ShippedFile>& shipped_web();

/// The one of that name; Error without.
const ShippedFile& web_file(std::string_view name);

}  // namespace beit
