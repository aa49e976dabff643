// An answer in place of the one that was asked for.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace beit {

/// What a request is refused with: a status of HTTP, a word for programs and a line for people.
class Refusal : public Error {
 public:
  Refusal(int status, std::string_view code, const std::string& message)
      : Error(message), status_(status), code_(code) {}

  int status() const { return status_; }
  const std::string& code() const { return code_; }

 private:
  int status_;
  std::string code_;
};

/// Throws a Refusal with the formatted message.
template <class... Args>
[[noreturn]] void refuse(int status, std::string_view code, fmt::format_string<Args...> message, Args&&... args) {
  throw Refusal(status, code, fmt::format(message, std::forward<Args>(args)...));
}

}  // namespace beit
