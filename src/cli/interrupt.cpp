#include "cli/interrupt.h"

#include <csignal>
#include <ctime>

namespace beit {
namespace {

volatile std::sig_atomic_t stop = 0;
volatile std::time_t stopped_at = 0;  // seconds of a clock that only goes forward

std::time_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec;
}

// Wrappers such as timeout(1) send one signal to the process and again to its group: that is one.
void note_or_end(int signal) {
  constexpr std::time_t kSameSignal = 1;  // seconds
  if (stop != 0 && now() - stopped_at > kSameSignal) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
    return;
  }
  if (stop == 0) stopped_at = now();
  stop = 1;
}

}  // namespace

std::function<bool()> stop_on_signal() {
  struct sigaction action {};
  action.sa_handler = note_or_end;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = [](int) { stop = 1; };
  sigaction(SIGUSR1, &action, nullptr);
  sigset_t waiting;  // until now, where ranks were started
  sigemptyset(&waiting);
  sigaddset(&waiting, SIGUSR1);
  sigprocmask(SIG_UNBLOCK, &waiting, nullptr);
  return interrupted;
}

bool interrupted() { return stop != 0; }

}  // namespace beit
