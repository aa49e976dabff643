// The resolved configuration as a run keeps it: in its folder for people, in its files for programs.
#pragma once

#include <map>
#include <string>

#include "base/option.h"
#include "data/dataset.h"

namespace beit {

/// The text of config.toml: all options in a section of the command's name, so that the file serves as --config.
std::string config_toml(const std::string& command, const OptionList& options);

/// Metadata of every safetensors file that a command writes: `format` ("beit"), `command`, and `config`, a JSON object
/// of all options. train/network_file.h reads it.
std::map<std::string, std::string> config_metadata(const std::string& command, const OptionList& options);

/// The same for a training run, and `images` (their number, and a hash of their paths and classes), `version`, and what
/// the last bits of its results depend on: `processor`, `threads`, `ranks`, and the `parts` of a step.
std::map<std::string, std::string> run_metadata(const std::string& command, const OptionList& options,
                                                const Dataset& images, int64_t ranks, int64_t parts);

}  // namespace beit
