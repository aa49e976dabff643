// Ctrl-C and the end that a cluster's scheduler announces: a run saves before it stops.
#pragma once

#include <functional>

namespace beit {

/// From now on the first SIGINT or SIGTERM is only noted, and the function that is returned says so; one that comes
/// more than a second later ends the program as ever. SIGUSR1 is noted however often it comes: a supervisor of ranks
/// hands on by it what came to it, as a scheduler may have sent the same to all processes at once.
std::function<bool()> stop_on_signal();

/// Whether a signal came since then.
bool interrupted();

/// What the program returns where it stopped for a signal, its work saved: EX_TEMPFAIL, the same command goes on.
inline constexpr int kInterruptedExit = 75;

}  // namespace beit
