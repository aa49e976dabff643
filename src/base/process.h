// This process, as it tells of itself.
#pragma once

#include <string>
#include <vector>

namespace beit {

/// The machine's name; "unknown" where the system does not tell.
std::string host_name();

/// The words that this process was started with, the program's name first; none where the system does not tell.
std::vector<std::string> own_words();

}  // namespace beit
