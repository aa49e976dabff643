// Which beit this is.
#pragma once

#include <string_view>

namespace beit {

/// Three numbers joined by dots, as CMakeLists.txt states them.
std::string_view version();

}  // namespace beit
