// An option of a command: flag, key of a configuration file, line of --help and entry of a checkpoint's configuration.
// All four are made from one description, so that they cannot differ.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace beit {

/// The numbers that make sense: from `least` to `most`, without an end that is said to be left out.
struct Range {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool without_least = false, without_most = false;
};

/// Its name as flag and key (`batch-size`), where its value lives, and what --help says. The value at the time of
/// asking is the default.
struct Option {
  using Value = std::variant<int64_t*, double*, bool*, std::string*, std::vector<std::string>*>;
  std::string name;
  Value value;
  std::string help;                       ///< with the unit
  std::vector<std::string> choices = {};  ///< allowed values of a string; any, if empty
  Range range = {};                       ///< of a number
  std::string value_name = {};            ///< what --help calls the value; N, X, TEXT, PATH by type, if empty
  std::string yields_to = {};             ///< set aside where the option of this name is given at a higher level
  bool positional = false;                ///< given without its name; then no key of a configuration file
};
using OptionList = std::vector<Option>;  ///< points into the struct that was described: must not outlive it

/// Several lists in one.
OptionList join(std::initializer_list<OptionList> lists);
/// Those of the given names; each must be there.
OptionList pick(const OptionList& options, std::initializer_list<std::string_view> names);

/// Sets the value from words as they stand on a command line or in a TOML file: one word, or several for a list.
/// Error, starting with `where`, unless they are of the option's type, among its choices and in its range.
void set(const Option& option, const std::vector<std::string>& words, std::string_view where);

/// For values that a program set: Error, starting with `where` and the option's name, unless all numbers are in range.
void check_ranges(const OptionList& options, std::string_view where);

/// The value as --help shows it; empty where there is none.
std::string shown(const Option& option);

/// `key = value` lines of TOML, in the list's order.
std::string to_toml(const OptionList& options);

/// One line of JSON: an object of the same keys and values.
std::string to_json(const OptionList& options);

/// Sets the values from such an object. Unknown keys are ignored, options that it lacks keep their value.
/// Error, starting with `where`, where it is no object or a value is of another type or out of range.
void from_json(const OptionList& options, std::string_view json, std::string_view where);

}  // namespace beit
