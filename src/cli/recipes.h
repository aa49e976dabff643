// The recipes that the program carries in itself: configurations by name, and the curves that they lead to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/shipped_file.h"
#include "cli/settings.h"

namespace beit {

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

/// The recipe that a run follows: all that it sets for the run's command (and what it sets for all commands, as far as
/// the run has it) is in the run's configuration, whose section names the command. Of several the one that sets most;
/// empty without.
std::string recipe_of(const std::vector<Setting>& run);

/// The sections in their order: "vqkd, pretrain".
std::string sections_of(const std::vector<Setting>& settings);

}  // namespace beit
