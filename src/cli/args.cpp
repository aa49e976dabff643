#include "cli/args.h"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "cli/recipes.h"
#include "cli/settings.h"

namespace beit {
namespace {

/// What was said about an option, and how much it counts.
struct Given {
  enum Level { kNowhere, kShared, kSection, kFlag } level = kNowhere;
  std::vector<std::string> words = {};
  std::string where = {};
};
using GivenByName = std::map<std::string, Given>;

std::vector<std::string> names_of(const OptionList& options) {
  std::vector<std::string> names;
  for (const Option& option : options) {
    if (!option.positional) names.push_back(option.name);
  }
  return names;
}

/// Of a configuration file: `[data.check]` is that of `beit data check`.
std::string section_of(const Command& command) {
  std::string section = command.name;
  std::ranges::replace(section, ' ', '.');
  return section;
}

std::vector<std::string> names_of(const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.name);
  return names;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_list(const Option& option) { return std::holds_alternative<std::vector<std::string>*>(option.value); }
bool is_switch(const Option& option) { return std::holds_alternative<bool*>(option.value); }

[[noreturn]] void refuse_word(const Command& command, const std::string& word) {
  if (word.size() < 2 || word.front() != '-') {
    fail("{}: unexpected argument '{}'; see `beit {} --help`", command.name, word, command.name);
  }
  std::vector<std::string> flags{"--config", "--help"};
  for (const Option& option : command.options) {
    if (option.positional) continue;
    flags.push_back("--" + option.name);
    if (is_switch(option)) flags.push_back("--no-" + option.name);
  }
  fail("{}: unknown flag '{}'; the nearest is '{}'", command.name, word,
       nearest(word.substr(0, word.find('=')), flags));
}

/// -o, as of most programs.
bool has_short_flag(const Option& option) { return option.name == "output" && !option.positional; }

/// CLI11 cuts the command line into flags and words; what the words mean is set()'s part.
Request read_flags(const Command& command, std::vector<std::string> words, GivenByName& given, std::string& config) {
  CLI::App app;
  app.allow_extras();
  std::vector<std::string> configs;
  app.add_option("--config", configs)->expected(1)->take_last();
  std::map<std::string, std::vector<std::string>> lists;
  std::map<std::string, std::string> switches;
  for (const Option& option : command.options) {
    const std::string flag = option.positional ? option.name : "--" + option.name;
    if (is_switch(option)) {
      app.add_flag(flag + ",!--no-" + option.name, switches[option.name])->take_last();
    } else {
      const std::string short_flag = has_short_flag(option) ? "-o," : "";
      auto* added = app.add_option(short_flag + flag, lists[option.name])->expected(1)->allow_extra_args(false);
      if (option.positional && is_list(option)) added->expected(-1);
      is_list(option) ? added->take_all() : added->take_last();
    }
  }
  std::reverse(words.begin(), words.end());
  try {
    app.parse(words);
  } catch (const CLI::CallForHelp&) {
    return Request::kHelp;
  } catch (const CLI::ParseError& error) {
    fail("{}: {}; see `beit {} --help`", command.name, error.what(), command.name);
  }
  if (const auto rest = app.remaining(); !rest.empty()) refuse_word(command, rest.front());
  for (const Option& option : command.options) {
    const std::string flag = option.positional ? option.name : "--" + option.name;
    if (app.count(flag) == 0) continue;
    given[option.name] = {Given::kFlag, is_switch(option) ? std::vector{switches[option.name]} : lists[option.name],
                          command.name + ": " + flag};
  }
  if (!configs.empty()) config = configs.front();
  return Request::kRun;
}

void read_configuration(const Command& command, const std::vector<Command>& commands, const std::string& config,
                        GivenByName& given) {
  const auto own = names_of(command.options);
  std::vector<std::string> shared;
  for (const Command& one : commands) {
    for (std::string& name : names_of(one.options)) shared.push_back(std::move(name));
  }
  const Config file = read_config(config);
  if (!file.shipped && find_shipped(shipped_recipes(), config) != nullptr)
    log().warn("{}: taken for the file of that name, not the recipe", config);
  const bool trains = contains(own, "resume");  // not by what a recipe says of other commands alone
  bool used = false;
  for (const Setting& setting : file.settings) {
    const std::string where = fmt::format("{}:{}", config, setting.line);
    const bool at_top = setting.section.empty();
    const auto owner = std::ranges::find(commands, setting.section, section_of);
    if (!at_top && owner == commands.end()) {
      std::vector<std::string> sections;
      std::ranges::transform(commands, std::back_inserter(sections), section_of);
      fail("{}: unknown section [{}]; the nearest is [{}]", where, setting.section, nearest(setting.section, sections));
    }
    const auto names = at_top ? shared : names_of(owner->options);
    if (!contains(names, setting.key)) {
      fail("{}: unknown key '{}'{}; the nearest is '{}'", where, setting.key,
           at_top ? "" : " in [" + setting.section + "]", names.empty() ? "" : nearest(setting.key, names));
    }
    if (!at_top && setting.section != section_of(command)) continue;
    used = used || !at_top || (!trains && contains(own, setting.key));
    Given& entry = given[setting.key];
    const auto level = at_top ? Given::kShared : Given::kSection;
    if (entry.level < level) entry = {level, setting.words, where + ": " + setting.key};
  }
  // A file may serve other commands alone; of a recipe that is a mistake, and defaults would run under its name.
  require(used || !file.shipped, "{}: recipe '{}' is for {} alone; `beit recipes` lists all", command.name, config,
          sections_of(file.settings));
}

std::string value_name(const Option& option) {
  if (!option.value_name.empty()) return option.value_name;
  if (!option.choices.empty()) return fmt::format("{}", fmt::join(option.choices, "|"));
  constexpr const char* kByType[] = {"N", "X", "", "TEXT", "PATH"};
  return kByType[option.value.index()];
}

std::string help_line(const std::string& flag, const std::string& text) {
  constexpr size_t kColumn = 32;
  if (flag.size() + 2 <= kColumn - 2) return fmt::format("  {:<{}}{}\n", flag, kColumn - 2, text);
  return fmt::format("  {}\n{:{}}{}\n", flag, "", kColumn, text);
}

}  // namespace

Request parse(const Command& command, const std::vector<Command>& commands, const std::vector<std::string>& words) {
  if (command.words != nullptr) {
    *command.words = words;
    const bool asks = contains(words, "--help") || contains(words, "-h");
    return asks ? Request::kHelp : Request::kRun;
  }
  GivenByName given;
  std::string config;
  if (read_flags(command, words, given, config) == Request::kHelp) return Request::kHelp;
  if (!config.empty()) read_configuration(command, commands, config, given);
  for (const Option& option : command.options) {
    const auto entry = given.find(option.name);
    if (entry == given.end()) continue;
    const auto stronger = given.find(option.yields_to);
    if (stronger != given.end() && stronger->second.level > entry->second.level) continue;
    set(option, entry->second.words, entry->second.where);
    if (command.given != nullptr) command.given->push_back(option.name);
  }
  return Request::kRun;
}

const Command& find_command(const std::vector<Command>& commands, const std::vector<std::string>& words) {
  const std::string& word = words.at(0);
  const auto group = commands_of(commands, word);
  // Of a command that is also a group's name (`segment`, `segment test`), what starts with a dash is a flag.
  const bool alone = group.empty() || words.size() == 1 || words[1].starts_with('-');
  const std::string name = alone ? word : word + ' ' + words[1];
  const auto found = std::ranges::find(commands, name, &Command::name);
  if (found != commands.end()) return *found;
  if (!group.empty()) {
    const auto got = words.size() == 1 ? "none" : "'" + words[1] + "'";
    fail("{}: expected one of its commands, got {}; they are {}", word, got, fmt::join(names_of(group), ", "));
  }
  if (word.starts_with('-')) {
    fail("expected a command before the flags, got '{}'; commands are {}", word, fmt::join(names_of(commands), ", "));
  }
  fail("unknown command '{}'; the nearest is '{}'", word, nearest(word, names_of(commands)));
}

std::vector<Command> commands_of(const std::vector<Command>& commands, const std::string& word) {
  std::vector<Command> group;
  std::ranges::copy_if(commands, std::back_inserter(group),
                       [&](const Command& one) { return one.name.starts_with(word + ' '); });
  return group;
}

std::string help(const Command& command) {
  std::string positional, lines;
  for (const Option& option : command.options) {
    if (option.positional) positional += " " + value_name(option);
    std::string flag = option.positional   ? value_name(option)
                       : is_switch(option) ? fmt::format("--{0}, --no-{0}", option.name)
                                           : fmt::format("{}--{} {}", has_short_flag(option) ? "-o, " : "", option.name,
                                                         value_name(option));
    if (is_list(option)) flag += " ...";
    const std::string value = shown(option);
    lines += help_line(flag, value.empty() ? option.help : fmt::format("{} [{}]", option.help, value));
  }
  return fmt::format("{}\n\nUsage: beit {}{} [--flag value ...]\n\n{}{}{}\nValues in brackets are the defaults.\n",
                     command.summary, command.name, positional, lines,
                     help_line("--config FILE|RECIPE", "keys named as the flags, shared or in a section [" +
                                                           section_of(command) + "]; `beit recipes` lists the recipes"),
                     help_line("-h, --help", "this text"));
}

std::string help(const std::vector<Command>& commands) {
  std::string lines;
  for (const Command& command : commands) lines += help_line(command.name, command.summary);
  return fmt::format(
      "BEiT v2: masked image modelling with vector-quantized visual tokenizers\n\n"
      "Usage: beit COMMAND [--config FILE|RECIPE] [--flag value ...]\n\nCommands:\n{}\n"
      "`beit COMMAND --help` or `beit help COMMAND` lists a command's flags. `beit --version` prints the version.\n",
      lines);
}

std::string nearest(std::string_view word, const std::vector<std::string>& names) {
  const auto distance = [&](const std::string& name) {
    std::vector<size_t> row(name.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = row[0];  // of the row before
      row[0] = i + 1;
      for (size_t j = 0; j < name.size(); ++j) {
        const size_t swapped = diagonal + (word[i] == name[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({swapped, row[j] + 1, row[j + 1] + 1});
      }
    }
    return row.back();
  };
  return *std::min_element(names.begin(), names.end(),
                           [&](const std::string& a, const std::string& b) { return distance(a) < distance(b); });
}

}  // namespace beit
