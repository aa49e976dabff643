#include "data/label.h"

#include <charconv>

#include "base/error.h"

namespace beit {

Label number_label(int64_t number, std::string_view where) {
  require(number >= -1 && number < kMostClasses, "{}: expected a class from 0 to {}, or -1 for none, got {}", where,
          kMostClasses - 1, number);
  return {.number = number};
}

Label parse_label(std::string_view text, std::string_view where) {
  int64_t number = -1;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (stop != end || error == std::errc::invalid_argument) return {.name = std::string(text)};
  return number_label(error == std::errc() ? number : kMostClasses, where);
}

}  // namespace beit
