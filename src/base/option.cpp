#include "base/option.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace beit {
namespace {

template <class... Cases>
struct Overload : Cases... {
  using Cases::operator()...;
};

template <class T>
T number(const std::string& word, std::string_view kind, std::string_view where) {
  T value{};
  const char* end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value);
  require(error == std::errc() && stop == end && std::isfinite(static_cast<double>(value)), "{}: expected {}, got '{}'",
          where, kind, word);
  return value;
}

/// "of at least 1", "in [0, 1)".
std::string readable(const Range& range) {
  if (std::isinf(range.most)) return fmt::format("{} {}", range.without_least ? "above" : "of at least", range.least);
  return fmt::format("in {}{}, {}{}", range.without_least ? '(' : '[', range.least, range.most,
                     range.without_most ? ')' : ']');
}

template <class T>
void check_range(T value, const Range& range, std::string_view where) {
  const auto number = static_cast<double>(value);
  const bool above = range.without_least ? number > range.least : number >= range.least;
  const bool below = range.without_most ? number < range.most : number <= range.most;
  require(above && below, "{}: expected a {}number {}, got {}", where, std::is_integral_v<T> ? "whole " : "",
          readable(range), value);
}

void check_choice(const Option& option, const std::string& word, std::string_view where) {
  const auto& choices = option.choices;
  require(choices.empty() || std::find(choices.begin(), choices.end(), word) != choices.end(),
          "{}: expected one of {}, got '{}'", where, fmt::join(choices, ", "), word);
}

// A text between single quotes is taken as it stands; one between double quotes might hold escapes.
std::string quoted(const std::string& text) {
  const bool has_double = text.find('"') != std::string::npos || text.find('\\') != std::string::npos;
  require(!(has_double && text.find('\'') != std::string::npos) && text.find('\n') == std::string::npos,
          "configuration: expected a text without line breaks, and without ' beside \" or \\, got {}", text);
  return has_double ? "'" + text + "'" : '"' + text + '"';
}

nlohmann::ordered_json json_of(const Option& option) {
  return std::visit([](const auto* value) { return nlohmann::ordered_json(*value); }, option.value);
}

/// A choice among texts of which none was made, which no text of a file could say.
bool is_unsaid(const Option& option) { return !option.choices.empty() && shown(option).empty(); }

}  // namespace

OptionList join(std::initializer_list<OptionList> lists) {
  OptionList all;
  for (const OptionList& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

OptionList pick(const OptionList& options, std::initializer_list<std::string_view> names) {
  OptionList picked;
  for (const std::string_view name : names) {
    const auto found =
        std::find_if(options.begin(), options.end(), [&](const Option& one) { return one.name == name; });
    require(found != options.end(), "options: expected one of the name {}, got none", name);
    picked.push_back(*found);
  }
  return picked;
}

void set(const Option& option, const std::vector<std::string>& words, std::string_view where) {
  if (auto* const* list = std::get_if<std::vector<std::string>*>(&option.value)) {
    **list = words;
    return;
  }
  require(words.size() == 1, "{}: expected one value, got {}", where, words.size());
  const std::string& word = words.front();
  const auto set_number = [&]<class T>(T* value, std::string_view kind) {
    const T read = number<T>(word, kind, where);
    check_range(read, option.range, where);
    *value = read;
  };
  std::visit(Overload{[&](int64_t* value) { set_number(value, "a whole number"); },
                      [&](double* value) { set_number(value, "a number"); },
                      [&](bool* value) {
                        require(word == "true" || word == "false", "{}: expected true or false, got '{}'", where, word);
                        *value = word == "true";
                      },
                      [&](std::string* value) {
                        check_choice(option, word, where);
                        *value = word;
                      },
                      [](std::vector<std::string>*) {}},
             option.value);
}

void check_ranges(const OptionList& options, std::string_view where) {
  for (const Option& option : options) {
    const std::string place = fmt::format("{}: {}", where, option.name);
    std::visit(Overload{[&](const int64_t* value) { check_range(*value, option.range, place); },
                        [&](const double* value) { check_range(*value, option.range, place); }, [](const auto*) {}},
               option.value);
  }
}

std::string shown(const Option& option) {
  return std::visit(
      Overload{[](const bool* value) -> std::string { return *value ? "true" : "false"; },
               [](const std::vector<std::string>* value) { return fmt::format("{}", fmt::join(*value, " ")); },
               [](const auto* value) { return fmt::format("{}", *value); }},
      option.value);
}

std::string to_toml(const OptionList& options) {
  std::string lines;
  for (const Option& option : options) {
    if (option.positional || is_unsaid(option)) continue;
    const std::string value = std::visit(Overload{[](const std::string* text) { return quoted(*text); },
                                                  [](const std::vector<std::string>* texts) {
                                                    std::vector<std::string> items;
                                                    for (const std::string& text : *texts)
                                                      items.push_back(quoted(text));
                                                    return fmt::format("[{}]", fmt::join(items, ", "));
                                                  },
                                                  [&](const auto*) { return shown(option); }},
                                         option.value);
    lines += fmt::format("{} = {}\n", option.name, value);
  }
  return lines;
}

std::string to_json(const OptionList& options) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const Option& option : options) {
    if (!option.positional) object[option.name] = json_of(option);
  }
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void from_json(const OptionList& options, std::string_view json, std::string_view where) {
  const auto object = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  require(object.is_object(), "{}: expected a configuration as a JSON object, got {:.60}", where, json);
  for (const Option& option : options) {
    const auto entry = object.find(option.name);
    if (entry == object.end()) continue;
    const std::string place = fmt::format("{}: {}", where, option.name);
    const auto expect = [&](bool fits, std::string_view kind) {
      require(fits, "{}: expected {}, got {:.60}", place, kind, entry->dump());
    };
    std::visit(Overload{[&](int64_t* value) {
                          expect(entry->is_number_integer(), "a whole number");
                          check_range(entry->get<int64_t>(), option.range, place);
                          *value = entry->get<int64_t>();
                        },
                        [&](double* value) {
                          expect(entry->is_number(), "a number");
                          check_range(entry->get<double>(), option.range, place);
                          *value = entry->get<double>();
                        },
                        [&](bool* value) {
                          expect(entry->is_boolean(), "true or false");
                          *value = entry->get<bool>();
                        },
                        [&](std::string* value) {
                          expect(entry->is_string(), "a text");
                          const auto text = entry->get<std::string>();
                          if (!text.empty()) check_choice(option, text, place);  // empty: none was said
                          *value = text;
                        },
                        [&](std::vector<std::string>* value) {
                          expect(entry->is_array() && std::all_of(entry->begin(), entry->end(),
                                                                  [](const auto& item) { return item.is_string(); }),
                                 "a list of texts");
                          *value = entry->get<std::vector<std::string>>();
                        }},
               option.value);
  }
}

}  // namespace beit
