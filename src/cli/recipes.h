// The recipes that the program carries in itself: configurations by name, and the curves that they lead to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/settings.h"

namespace beit {

/// A file of the source tree, as it was when the program was built.
struct ShippedFile {
  std::string name;  ///< without folder and suffix
  std::string_view text;
};

/// configs/*.toml and docs/curves/*.csv, in the order of their names.
const std::vector<ShippedFile>& shipped_recipes();
const std::vector<ShippedFile>& shipped_curves();

/// The one of that name; nullptr without.
const ShippedFile* find_shipped(const std::vector<ShippedFile>& files, std::string_view name);

struct Config {
  std::vector<Setting> settings;
  bool shipped = false;  ///< a recipe, no file
};

/// What --config names: a file, or a recipe. What has a slash or ends with .toml is a file; of other names a file of
/// exactly that name comes before a recipe. Error where there is neither, with the nearest recipe.
Config read_config(const std::string& name);

/// The sections in their order: "vqkd, pretrain".
std::string sections_of(const std::vector<Setting>& settings);

}  // namespace beit
