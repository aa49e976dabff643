// Ctrl-C and the end that a cluster's scheduler announces: a run saves before it stops.
#pragma once

#include <functional>

namespace beit {

/// From now on the first SIGINT or SIGTERM is only noted, and the function that is returned says so; a second one ends
/// the program as ever.
std::function<bool()> stop_on_signal();

}  // namespace beit
