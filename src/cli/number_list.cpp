#include "cli/number_list.h"

namespace beit {
namespace {

template <class Number>
std::vector<Number> read(const std::vector<std::string>& words, std::string_view name, const Range& range) {
  std::vector<Number> values;
  for (const std::string& word : words) {
    Number value = 0;
    set({.name = std::string(name), .value = &value, .help = "", .range = range}, {word}, name);
    values.push_back(value);
  }
  return values;
}

}  // namespace

std::vector<double> numbers(const std::vector<std::string>& words, std::string_view name, const Range& range) {
  return read<double>(words, name, range);
}

std::vector<int64_t> whole_numbers(const std::vector<std::string>& words, std::string_view name, const Range& range) {
  return read<int64_t>(words, name, range);
}

}  // namespace beit
