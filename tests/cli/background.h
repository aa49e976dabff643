// The program in the background, as a test watches, stops or kills it.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/cli/started.h"

namespace beit {

class Background {
 public:
  explicit Background(std::vector<std::string> words) {
    words.insert(words.begin(), program().string());
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, err().c_str(), O_WRONLY | O_CREAT, 0600);
    REQUIRE(posix_spawn(&process_, words[0].c_str(), &files, nullptr, arguments.data(), ::environ) == 0);
    posix_spawn_file_actions_destroy(&files);
  }
  ~Background() { signal(SIGKILL), wait(); }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  pid_t process() const { return process_; }
  bool runs() {
    ended_ = ended_ || ::waitpid(process_, &status_, WNOHANG) == process_;
    return !ended_;
  }
  void signal(int number) {
    if (runs()) ::kill(process_, number);
  }
  /// The exit code; -1 where a signal ended it.
  int wait() {
    while (runs()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;
  }
  /// Waits until `done`, a minute at most, and no longer than the program runs.
  void until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done()) {
      REQUIRE(runs());
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  std::filesystem::path err() const { return folder_.path / "err"; }

 private:
  TemporaryFolder folder_;
  pid_t process_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

}  // namespace beit
