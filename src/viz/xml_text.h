// Any text within XML and HTML.
#pragma once

#include <string>

namespace beit {

/// The text within XML or HTML, between tags or in quotes: the five marked characters escaped, what XML does not allow
/// and what is not UTF-8 as U+FFFD.
std::string xml_text(const std::string& text);

}  // namespace beit
