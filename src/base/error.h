// The one error type. A message says where, what was expected, what came, and what to try.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace beit {

/// Every failure that a user can cause or mend. `main` prints it on one line and returns 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a file says, or a message that quotes it, fit for a line of a terminal: '?' for control characters.
inline std::string on_one_line(std::string text) {
  for (char& letter : text) {
    if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f) letter = '?';
  }
  return text;
}

/// Throws Error with the formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> message, Args&&... args) {
  throw Error(fmt::format(message, std::forward<Args>(args)...));
}

/// Throws Error with the formatted message unless `condition` holds.
template <class... Args>
void require(bool condition, fmt::format_string<Args...> message, Args&&... args) {
  if (!condition) throw Error(fmt::format(message, std::forward<Args>(args)...));
}

}  // namespace beit
