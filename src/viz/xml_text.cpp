#include "viz/xml_text.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace beit {
namespace {

/// The bytes of the code point that begins at `at`; 0 where that is none that XML allows.
size_t letter_bytes(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned first = byte(at);
  if (first < 0x80) return first >= 0x20 || first == '\t' || first == '\n' ? 1 : 0;
  const size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return 0;
  unsigned point = first & (0x7fU >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(at + i) & 0xc0U) != 0x80) return 0;
    point = point << 6U | (byte(at + i) & 0x3fU);
  }
  constexpr std::array<unsigned, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = point >= 0xd800 && point < 0xe000;
  return point >= kLeast[bytes] && point <= 0x10ffff && !is_surrogate && (point & 0xfffeU) != 0xfffe ? bytes : 0;
}

}  // namespace

std::string xml_text(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = letter_bytes(text, at);
    switch (text[at]) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += bytes > 0 ? text.substr(at, bytes) : "\xef\xbf\xbd";
    }
    at += std::max<size_t>(bytes, 1);
  }
  return out;
}

}  // namespace beit
