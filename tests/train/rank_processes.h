// Ranks as processes: the program of the tests starts itself again, each with a place in the environment, and runs one
// test case that a plain run leaves out.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support.h"

namespace beit {

using TestClock = std::chrono::steady_clock;

/// Waits until the condition holds, 30 s at most, and says whether it came to hold.
inline bool comes_true(const std::function<bool()>& condition, std::chrono::seconds bound = std::chrono::seconds(30)) {
  const auto start = TestClock::now();
  while (!condition()) {
    if (TestClock::now() - start > bound) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

/// A port of the loopback interface that was free just now.
inline int free_port() {
  const int number = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  REQUIRE(bind(number, reinterpret_cast<const sockaddr*>(&address), length) == 0);
  REQUIRE(getsockname(number, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  close(number);
  return ntohs(address.sin_port);
}

/// One process; killed at the end if need be.
class RankProcess {
 public:
  /// `prefix` stands before the program: `ip netns exec NAME`.
  RankProcess(const std::string& test_case, const std::vector<std::string>& variables, std::filesystem::path output,
              const std::vector<std::string>& prefix = {})
      : output_(std::move(output)) {
    std::vector<std::string> words = prefix;
    words.insert(words.end(), {std::filesystem::read_symlink("/proc/self/exe").string(), "--test-case=" + test_case,
                               "--no-skip", "--no-version"});
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    process_ = fork();
    REQUIRE(process_ >= 0);
    if (process_ > 0) return;
    const int file = open(output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(file, STDOUT_FILENO);
    dup2(file, STDERR_FILENO);
    for (const std::string& variable : variables) putenv(const_cast<char*>(variable.c_str()));
    execvp(pointers[0], pointers.data());
    _exit(127);
  }
  ~RankProcess() {
    if (status_) return;
    send(SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  RankProcess(const RankProcess&) = delete;
  RankProcess& operator=(const RankProcess&) = delete;

  void send(int signal) const { kill(process_, signal); }
  pid_t process() const { return process_; }

  /// The status of waitpid, within the bound; -1 where it goes on.
  int wait(std::chrono::seconds bound = std::chrono::seconds(60)) {
    comes_true([&] { return ended(); }, bound);
    return status_.value_or(-1);
  }
  bool ended() {
    int status = 0;
    if (!status_ && waitpid(process_, &status, WNOHANG) == process_) status_ = status;
    return status_.has_value();
  }
  std::string output() const {
    std::ostringstream text;
    text << std::ifstream(output_).rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path output_;
  pid_t process_ = -1;
  std::optional<int> status_;
};

}  // namespace beit
