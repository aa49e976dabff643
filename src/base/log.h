// The logger: results and progress of runs to stdout, warnings to stderr. The only global.
#pragma once

#include <spdlog/spdlog.h>

namespace beit {

/// Plain lines: info to stdout, warnings and errors ("beit: warning: ...") to stderr.
/// Before set_up_log() is called the logger is silent, so that a library user sees nothing.
spdlog::logger& log();

/// Called once by `main`. `quiet` leaves warnings and errors only.
void set_up_log(bool quiet);

}  // namespace beit
