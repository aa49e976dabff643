// From words on a command line and keys in a TOML file to a command's options, and the text of --help.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace beit {

enum class Request { kRun, kHelp };

/// Sets the options of `command` from `words`, what stands after the command's name, and from the file or recipe that
/// --config names (read_config()): shared keys at the top, a section for each command. The command line wins over the
/// section, the section over shared keys. Shared keys that only other commands know are passed over; a section of
/// another command is checked all the same. With kHelp (--help was among the words) nothing was set. Of a command that
/// reads its words by itself none is looked at but --help. Error, with the nearest known name, for unknown flags, keys
/// and sections; for values of another type or not among the choices; for a damaged file, with the line.
Request parse(const Command& command, const std::vector<Command>& commands, const std::vector<std::string>& words);

/// The command whose name the words begin with; Error with the nearest name.
const Command& find_command(const std::vector<Command>& commands, const std::vector<std::string>& words);

/// The commands of two words that begin with this one.
std::vector<Command> commands_of(const std::vector<Command>& commands, const std::string& word);

/// What `beit COMMAND --help` and `beit --help` print.
std::string help(const Command& command);
std::string help(const std::vector<Command>& commands);

/// The name with the smallest edit distance, the first of equals; `names` must not be empty.
std::string nearest(std::string_view word, const std::vector<std::string>& names);

}  // namespace beit
