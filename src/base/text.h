// Text for people.
#pragma once

#include <string>

namespace beit {

/// The engine's messages go on for pages; the first line says it.
inline std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace beit
