// `beit recipes`: the recipes that --config takes by name.
#include "cli/recipes.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/table.h"

namespace beit {
namespace {

std::vector<Setting> settings_of(const ShippedFile& recipe) {
  std::istringstream text{std::string(recipe.text)};
  return read_settings(text, recipe.name);
}

/// What its first line, a comment, says of it.
std::string summary_of(const ShippedFile& recipe) {
  const auto line = recipe.text.substr(0, recipe.text.find('\n'));
  return std::string(line.substr(std::min(line.size(), line.find_first_not_of("# "))));
}

/// Equal texts, or two forms of one number: 3e-4 and 0.0003.
bool same_value(const std::string& one, const std::string& other) {
  const auto number = [](const std::string& text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
  };
  return one == other || (number(one) && number(one) == number(other));
}

std::string nearest_recipe(const std::string& name) {
  std::vector<std::string> names;
  for (const ShippedFile& recipe : shipped_recipes()) names.push_back(recipe.name);
  return nearest(name, names);
}

struct Recipes {
  std::string name;

  OptionList options() {
    return {{.name = "NAME",
             .value = &name,
             .help = "recipe to print, fit for a file; none: list all",
             .value_name = "NAME",
             .positional = true}};
  }

  void run() const {
    if (name.empty()) {
      std::vector<std::vector<std::string>> rows{{"recipe", "of", "what"}};
      for (const ShippedFile& recipe : shipped_recipes())
        rows.push_back({recipe.name, sections_of(settings_of(recipe)), summary_of(recipe)});
      fmt::print("{}", table(rows));
      return;
    }
    const ShippedFile* recipe = find_shipped(shipped_recipes(), name);
    require(recipe != nullptr,
            "recipes: expected a recipe's name, got '{}'; the nearest is '{}', `beit recipes` lists all", name,
            nearest_recipe(name));
    fmt::print("{}", recipe->text);
  }
};

}  // namespace

const ShippedFile* find_shipped(const std::vector<ShippedFile>& files, std::string_view name) {
  const auto found = std::ranges::find(files, name, &ShippedFile::name);
  return found == files.end() ? nullptr : &*found;
}

Config read_config(const std::string& name) {
  const std::filesystem::path path(name);
  std::error_code ignored;
  const bool is_path = name.find('/') != std::string::npos || path.extension() == ".toml";
  const bool is_file = std::filesystem::exists(path, ignored) && !std::filesystem::is_directory(path, ignored);
  if (is_path || is_file) return {.settings = read_settings(path)};
  const ShippedFile* recipe = find_shipped(shipped_recipes(), name);
  require(recipe != nullptr,
          "--config: expected a configuration file or a recipe's name, got '{}'; the nearest recipe is '{}', "
          "`beit recipes` lists all",
          name, nearest_recipe(name));
  return {.settings = settings_of(*recipe), .shipped = true};
}

std::string sections_of(const std::vector<Setting>& settings) {
  std::vector<std::string> sections;
  for (const Setting& setting : settings) {
    const bool known = std::ranges::find(sections, setting.section) != sections.end();
    if (!known && !setting.section.empty()) sections.push_back(setting.section);
  }
  return fmt::format("{}", fmt::join(sections, ", "));
}

std::string recipe_of(const std::vector<Setting>& run) {
  std::string best;
  int64_t most = 0;
  for (const ShippedFile& recipe : shipped_recipes()) {
    int64_t same = 0;
    bool fits = !run.empty();
    for (const Setting& wanted : settings_of(recipe)) {
      if (!fits || (!wanted.section.empty() && wanted.section != run.back().section)) continue;
      const auto found = std::ranges::find(run, wanted.key, &Setting::key);
      if (found == run.end() && wanted.section.empty()) continue;
      fits = found != run.end() && std::ranges::equal(found->words, wanted.words, same_value);
      if (!wanted.section.empty()) ++same;
    }
    if (!fits || same <= most) continue;
    best = recipe.name;
    most = same;
  }
  return best;
}

Command recipes_command() {
  return make_command<Recipes>("recipes", "List the recipes that --config takes by name, or print one");
}

}  // namespace beit
