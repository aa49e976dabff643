#include "cli/interrupt.h"

#include <csignal>

namespace beit {
namespace {

volatile std::sig_atomic_t stop = 0;

}  // namespace

std::function<bool()> stop_on_signal() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop = 1; };
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  sigset_t waiting;  // until now, where ranks were started
  sigemptyset(&waiting);
  sigaddset(&waiting, SIGUSR1);
  sigprocmask(SIG_UNBLOCK, &waiting, nullptr);
  return interrupted;
}

bool interrupted() { return stop != 0; }

void note_interruption() { stop = 1; }

}  // namespace beit
