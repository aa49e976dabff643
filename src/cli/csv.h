// Comma-separated values, as RFC 4180 has them.
#pragma once

#include <string>

namespace beit {

/// A field, between quotes where it holds a comma, a quote or a line break.
std::string csv_field(const std::string& text);

}  // namespace beit
