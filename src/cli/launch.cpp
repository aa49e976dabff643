#include "cli/launch.h"

#include <c10/util/intrusive_ptr.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "base/stopped.h"
#include "cli/interrupt.h"
#include "train/distributed.h"
#include "train/process_group.h"
#include "train/rank_place.h"

extern char** environ;

namespace beit {
namespace {

constexpr std::chrono::seconds kToSave{
    60};  // that the others get beside what finding out takes, once a rank has failed
constexpr std::chrono::seconds kWithoutFirst{3};  // likewise, once rank 0 has ended, which alone saves
constexpr int64_t kRanksPerCore = 4;
constexpr std::chrono::milliseconds kLookEvery{20};
constexpr const char* kStarter = "BEIT_STARTER";  // its process id

/// The environment, with these variables set anew.
std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& variables) {
  std::set<std::string> names;
  std::vector<std::string> all;
  for (const auto& [name, value] : variables) {
    names.insert(name);
    all.push_back(name + "=" + value);
  }
  for (char** line = environ; *line != nullptr; ++line) {
    const std::string text = *line;
    if (!names.contains(text.substr(0, text.find('=')))) all.push_back(text);
  }
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

/// A rank as a process of this one.
struct Child {
  pid_t process = -1;
  std::optional<int> status;  // of waitpid, once it has ended
  bool killed = false;        // by us
};

pid_t start_rank(int64_t rank, int64_t ranks, int64_t port) {
  std::vector<std::string> words = own_words();
  require(!words.empty(), "ranks: expected this process's words in /proc/self/cmdline, got none; is /proc mounted?");
  std::vector<std::string> environment = environment_with({{"RANK", std::to_string(rank)},
                                                           {"WORLD_SIZE", std::to_string(ranks)},
                                                           {"LOCAL_RANK", std::to_string(rank)},
                                                           {"LOCAL_WORLD_SIZE", std::to_string(ranks)},
                                                           {"MASTER_ADDR", "127.0.0.1"},
                                                           {"MASTER_PORT", std::to_string(port)},
                                                           {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                                           {"TORCHELASTIC_RUN_ID", "ranks"},
                                                           {"TORCHELASTIC_RESTART_COUNT", "0"},
                                                           {kStarter, std::to_string(getpid())}});
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A group of its own: Ctrl-C comes to this process alone, which hands it on.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(&attributes, 0);
  // A stop that is handed on before the rank listens waits until it does (cli/interrupt.h).
  sigset_t waiting;
  sigemptyset(&waiting);
  sigaddset(&waiting, SIGUSR1);
  posix_spawnattr_setsigmask(&attributes, &waiting);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  pid_t process = -1;
  const int error = posix_spawn(&process, "/proc/self/exe", &actions, &attributes, pointers(words).data(),
                                pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  require(error == 0, "ranks: expected to start rank {} of {}, got: {}; try fewer --ranks", rank, ranks,
          strerror(error));
  return process;
}

/// All ranks; those that are left are killed at the end.
class Children {
 public:
  Children(int64_t ranks, int64_t port) : children_(static_cast<size_t>(ranks)) {
    try {
      for (int64_t rank = 0; rank < ranks; ++rank) {
        children_[static_cast<size_t>(rank)].process = start_rank(rank, ranks, port);
      }
    } catch (const Error&) {
      end_all();
      throw;
    }
  }
  ~Children() { end_all(); }
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  /// Notes who has ended since.
  void look() {
    for (Child& child : children_) {
      int status = 0;
      if (lives(child) && waitpid(child.process, &status, WNOHANG) == child.process) child.status = status;
    }
  }
  bool all_ended() const {
    for (const Child& child : children_) {
      if (lives(child)) return false;
    }
    return true;
  }
  void signal(int number) {
    for (const Child& child : children_) {
      if (lives(child)) kill(child.process, number);
    }
  }
  void end_all() {
    for (Child& child : children_) {
      if (!lives(child)) continue;
      kill(child.process, SIGKILL);
      child.killed = true;
      int status = 0;
      if (waitpid(child.process, &status, 0) == child.process) child.status = status;
    }
  }
  const std::vector<Child>& list() const { return children_; }

 private:
  static bool lives(const Child& child) { return child.process > 0 && !child.status; }

  std::vector<Child> children_;
};

/// Ended otherwise than well or for a signal that was handed on, its work saved.
bool failed(const Child& child) {
  if (!child.status || *child.status == 0) return false;
  return !WIFEXITED(*child.status) || WEXITSTATUS(*child.status) != kInterruptedExit;
}

std::string join(const std::vector<size_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank" : "ranks";
  for (size_t i = 0; i < ranks.size(); ++i) text += fmt::format("{} {}", i == 0 ? "" : ",", ranks[i]);
  return text;
}

/// Says who failed and how. A signal tells more than the exit codes of those that failed for it; those have said why.
[[noreturn]] void fail_for(const std::vector<Child>& children) {
  std::vector<size_t> by_signal, by_code, hung;
  for (size_t rank = 0; rank < children.size(); ++rank) {
    if (children[rank].killed) {
      hung.push_back(rank);
    } else if (failed(children[rank])) {
      (WIFSIGNALED(*children[rank].status) ? by_signal : by_code).push_back(rank);
    }
  }
  const std::string and_killed = hung.empty() ? "" : fmt::format("; killed {}, which did not end", join(hung));
  if (!by_signal.empty()) {
    const int signal = WTERMSIG(*children[by_signal[0]].status);
    fail("ranks: {} ended by signal {} ({}){}{}; the same command goes on from the last checkpoint", join(by_signal),
         signal, strsignal(signal), signal == SIGKILL ? ", as happens where memory runs out" : "", and_killed);
  }
  fail("ranks: {} failed, as said above{}", join(by_code), and_killed);
}

/// Waits for the end of all. What the signals did is noted by interrupted().
void watch_over(Children& children, std::chrono::seconds patience) {
  bool handed_on = false;
  std::optional<Clock::time_point> failed_at, first_ended_at;  // the first to fail; rank 0 since then
  while (true) {
    children.look();
    const auto& list = children.list();
    if (!failed_at && std::ranges::any_of(list, failed)) {
      failed_at = Clock::now();
    }
    if (children.all_ended()) break;
    if (interrupted() && !handed_on) {
      children.signal(SIGUSR1);
      handed_on = true;
    }
    if (failed_at && list.front().status && !first_ended_at) first_ended_at = Clock::now();
    if (first_ended_at && Clock::now() - *first_ended_at > kWithoutFirst) children.end_all();
    if (failed_at && Clock::now() - *failed_at > patience) children.end_all();
    std::this_thread::sleep_for(kLookEvery);
  }
  if (failed_at) fail_for(children.list());
  if (std::ranges::all_of(children.list(), [](const Child& child) { return *child.status == 0; })) return;
  throw Stopped("ranks: stopped by a signal, as said above");
}

}  // namespace

bool supervise(const RankOptions& options) {
  require(options.ranks >= 1, "ranks: expected --ranks of at least 1, got {}", options.ranks);
  if (const auto place = rank_place()) {
    require(options.ranks == 1 || options.ranks == place->ranks,
            "ranks: expected --ranks {}, as many as were started, or none, got {}", place->ranks, options.ranks);
    return false;
  }
  if (options.ranks == 1) return false;
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  require(options.ranks <= kRanksPerCore * cores, "ranks: expected at most {} --ranks on {} cores, got {}",
          kRanksPerCore * cores, cores, options.ranks);
  stop_on_signal();
  const LoopbackStore store;
  Children children(options.ranks, store.port());
  watch_over(children, std::chrono::seconds(options.rank_timeout) + Distributed::kLongestSearch + kToSave);
  return true;
}

void die_with_starter() {
  const char* starter = std::getenv(kStarter);
  if (starter == nullptr) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (std::to_string(getppid()) != starter) raise(SIGKILL);  // it ended before
  unsetenv(kStarter);                                        // is not for what this process may start
}

}  // namespace beit
