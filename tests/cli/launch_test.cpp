#include "cli/launch.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "base/error.h"
#include "base/log.h"
#include "base/stopped.h"
#include "cli/interrupt.h"
#include "cli/runtime.h"
#include "tests/train/rank_processes.h"
#include "train/distributed.h"

namespace beit {
namespace {

using std::chrono::seconds;

constexpr const char* kSupervised = "launch: what supervise() starts in a test";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Notes its process id for the test.
void note(int64_t rank) {
  const std::filesystem::path folder = variable("BEIT_TEST_FOLDER"), name = fmt::format("rank.{}", rank);
  const auto part = folder / fmt::format("part.{}", rank);
  std::ofstream(part) << getpid() << '\n';
  std::filesystem::rename(part, folder / name);
}

void rank_work(Distributed& ranks, const std::string& part, const std::function<bool()>& stop) {
  for (int64_t step = 0;; ++step) {
    auto values = torch::tensor({stop() ? 1 : 0});  // one rank's signal stops all
    ranks.sum(values);
    if (values.item<int>() > 0) throw Stopped("stopped and saved");
    if (step == 3) {
      if (ranks.rank() == 0) log().info("at work");
      log().warn("a warning");
    }
    if (step == 5 && part == "done") return;
    if (step == 5 && part == "dies" && ranks.rank() == 1) raise(SIGKILL);
    if (step == 5 && part == "fails" && ranks.rank() == 1) fail("images: expected a picture, got a poem");
    if (step == 5) note(ranks.rank());
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

/// As `main` does.
[[noreturn]] void end(int code) {
  std::fflush(stdout);
  std::fflush(stderr);
  std::_Exit(code);
}

TEST_CASE("launch: what supervise() starts in a test" * doctest::skip()) {
  die_with_starter();
  set_up_log(/*quiet=*/false);
  try {
    if (supervise({.ranks = std::stoll(variable("BEIT_TEST_RANKS"))})) {
      fmt::print("supervised\n");
      end(0);
    }
    const auto stop = stop_on_signal();
    const auto place = rank_place();
    REQUIRE(place.has_value());
    const auto device = apply({.device = "cpu"}, *place);
    Distributed ranks(*place, device, seconds(6));
    try {
      rank_work(ranks, variable("BEIT_TEST_PART"), stop);
    } catch (const Error& error) {
      ranks.tell_failure(error.what());
      throw;
    }
  } catch (const Stopped& stopped) {
    fmt::print(stderr, "error: {}\n", stopped.what());
    end(kInterruptedExit);
  } catch (const Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    end(1);
  }
  end(0);
}

class Supervised {
 public:
  Supervised(const std::string& part, int ranks, std::vector<std::string> more = {})
      : process_(kSupervised, join(part, ranks, std::move(more)), folder_.path / "output") {}

  RankProcess& operator*() { return process_; }
  RankProcess* operator->() { return &process_; }

  /// The rank's process, once it is at work.
  pid_t rank(int64_t number) const {
    const auto file = folder_.path / fmt::format("rank.{}", number);
    REQUIRE_MESSAGE(comes_true([&] { return std::filesystem::exists(file); }), process_.output());
    pid_t process = 0;
    std::ifstream(file) >> process;
    return process;
  }
  bool said(const std::string& text) const { return process_.output().find(text) != std::string::npos; }

 private:
  std::vector<std::string> join(const std::string& part, int ranks, std::vector<std::string> more) const {
    more.insert(more.end(), {"BEIT_TEST_PART=" + part, fmt::format("BEIT_TEST_RANKS={}", ranks),
                             "BEIT_TEST_FOLDER=" + folder_.path.string()});
    return more;
  }

  const TemporaryFolder folder_;
  RankProcess process_;
};

int exit_code(int status) { return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

bool lives(pid_t process) { return kill(process, 0) == 0; }

TEST_CASE("launch: ranks do their work; only the first prints, the others' warnings name them") {
  Supervised run("done", 3);
  CHECK(exit_code(run->wait()) == 0);
  INFO(run->output());
  CHECK(run.said("supervised\n"));
  CHECK(run.said("beit: warning: a warning\n"));
  CHECK(run.said("beit: warning: rank 1: a warning\n"));
  CHECK(run.said("beit: warning: rank 2: a warning\n"));
  const std::string output = run->output();
  CHECK(output.find("at work") == output.rfind("at work"));
  const int64_t threads = std::max<int64_t>(1, std::thread::hardware_concurrency() / 3);
  CHECK(run.said(fmt::format("device cpu, {} thread", threads)));
}

TEST_CASE("launch: one rank is no group, and several where a starter has made them are left to it") {
  CHECK(!supervise({.ranks = 1}));
  CHECK_THROWS_AS(supervise({.ranks = 0}), Error);
  const std::vector<std::string> second = {"RANK=1", "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1", "MASTER_PORT=1"};
  Supervised contradicting("done", 3, second);
  CHECK(exit_code(contradicting->wait()) == 1);
  CHECK(contradicting.said("expected --ranks 2, as many as were started, or none, got 3"));
}

TEST_CASE("launch: SIGTERM and SIGINT are handed on, the ranks stop in order, and the exit code says so") {
  for (const int signal : {SIGTERM, SIGINT}) {
    Supervised run("goes on", 2);
    for (const int64_t rank : {0, 1}) run.rank(rank);
    run->send(signal);
    CHECK(exit_code(run->wait()) == kInterruptedExit);
    INFO(run->output());
    CHECK(run.said("error: stopped and saved"));
  }
}

TEST_CASE("launch: a rank that is told to stop stops all, and the exit code says so") {
  Supervised run("goes on", 2);
  kill(run.rank(1), SIGTERM);
  CHECK(exit_code(run->wait()) == kInterruptedExit);
}

TEST_CASE("launch: a rank that is killed is named, and the others end by themselves") {
  Supervised run("dies", 3);
  const auto start = TestClock::now();
  CHECK(exit_code(run->wait()) == 1);
  INFO(run->output());
  CHECK(
      run.said("error: ranks: rank 1 ended by signal 9 (Killed), as happens where memory runs out; the same command"));
  CHECK(run.said("error: ranks: rank 0 cannot go on without the others: rank 1 (host "));
  CHECK(TestClock::now() - start < seconds(20));
}

TEST_CASE("launch: a rank that fails has said why, and one short line follows") {
  Supervised run("fails", 2);
  CHECK(exit_code(run->wait()) == 1);
  INFO(run->output());
  CHECK(run.said("error: images: expected a picture, got a poem\n"));
  CHECK(run.said(" failed, as said above\n"));
}

TEST_CASE("launch: the ranks die with their supervisor, even if that is killed") {
  Supervised run("goes on", 2);
  const pid_t first = run.rank(0), second = run.rank(1);
  CHECK(lives(first));
  run->send(SIGKILL);
  run->wait();
  CHECK(comes_true([&] { return !lives(first) && !lives(second); }, seconds(5)));
}

}  // namespace
}  // namespace beit
