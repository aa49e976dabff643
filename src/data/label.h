// An image's class as its source states it: a number, a name, or nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace beit {

/// Numbers of classes are below this; a larger one is taken for damage.
inline constexpr int64_t kMostClasses = 1'000'000;

struct Label {
  int64_t number = -1;    ///< from 0; -1: none
  std::string name = {};  ///< empty: none

  bool is_number() const { return number >= 0; }
  bool is_name() const { return !name.empty(); }
  bool operator==(const Label&) const = default;
};

/// Digits make a number, -1 and an empty text make none, another text is a name. Error, starting with `where`, for
/// other negative numbers and those from kMostClasses on.
Label parse_label(std::string_view text, std::string_view where);

/// The same for a number at hand.
Label number_label(int64_t number, std::string_view where);

}  // namespace beit
