#include "io/output_folder.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "base/error.h"
#include "tests/io/files.h"
#include "tests/support.h"

using namespace beit;
namespace fs = std::filesystem;

namespace {

/// Another process that holds a folder until it is killed.
class Holder {
 public:
  explicit Holder(const fs::path& folder) {
    std::array<int, 2> ready{};
    REQUIRE(::pipe(ready.data()) == 0);
    process_ = ::fork();
    if (process_ == 0) {
      const OutputFolder held(folder);
      (void)!::write(ready[1], "x", 1);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char letter = 0;
    REQUIRE(::read(ready[0], &letter, 1) == 1);
    ::close(ready[0]);
  }
  ~Holder() { kill(); }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  pid_t process() const { return process_; }
  void kill() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = -1;
  }

 private:
  pid_t process_ = -1;
};

}  // namespace

TEST_CASE("output folder: one at a time holds it, and leaves it to the next") {
  const TemporaryFolder root;
  const fs::path folder = root.path / "a/b";
  {
    const OutputFolder first(folder);
    CHECK(fs::is_directory(folder));
    CHECK(first.path() == folder);
    CHECK_THROWS_WITH_AS(OutputFolder{folder}, doctest::Contains("another process is writing to"), Error);
    const OutputFolder other(root.path / "c");
    CHECK(holder_of(folder)->process == ::getpid());  // the refused one took nothing away
  }
  CHECK(fs::is_empty(folder));
  const OutputFolder next(folder);
}

TEST_CASE("output folder: a refused process learns who holds it") {
  const TemporaryFolder root;
  CHECK(!holder_of(root.path));
  CHECK(!holder_of(root.path / "none"));
  Holder other(root.path);
  const auto holder = holder_of(root.path);
  REQUIRE(holder);
  CHECK(holder->process == other.process());
  CHECK(holder->command.starts_with("beit_tests"));
  CHECK(std::abs(holder->started - std::time(nullptr)) < 60);
  std::array<char, 256> host{};
  REQUIRE(::gethostname(host.data(), host.size() - 1) == 0);
  CHECK(holder->host == host.data());
  const auto refused = [&] { const OutputFolder mine(root.path); };
  CHECK_THROWS_WITH_AS(refused(), doctest::Contains(readable(*holder).c_str()), Error);

  other.kill();
  CHECK(fs::exists(root.path / ".process"));
  CHECK(!holder_of(root.path));
  const OutputFolder mine(root.path);
  CHECK(holder_of(root.path)->process == ::getpid());
}

TEST_CASE("output folder: asking who holds it keeps nobody out") {
  const TemporaryFolder root;
  for (int i = 0; i < 20; ++i) {
    const OutputFolder mine(root.path);
    REQUIRE(holder_of(root.path));
  }
  put_file(root.path / ".process", "left by a killed process, and damaged");
  CHECK(!holder_of(root.path));
  const OutputFolder mine(root.path);
  put_file(root.path / "x", "x");
  CHECK(holder_of(root.path)->process == ::getpid());
}

TEST_CASE("output folder: a holder is described in words") {
  CHECK(readable({.process = 4711, .host = "x", .command = "beit pretrain", .started = 86400}) ==
        "process 4711 on host x (`beit pretrain`) since 1970-01-02 00:00:00 UTC");
  CHECK(readable({.process = 1, .command = std::string(300, 'a')}).find(std::string(200, 'a') + "...`") !=
        std::string::npos);
  CHECK(readable(FolderHolder{}) == "a process that could not say which");
}

TEST_CASE("output folder: a place that cannot be a folder is an error with its reason") {
  const TemporaryFolder root;
  put_file(root.path / "file", "x");
  CHECK_THROWS_WITH_AS(OutputFolder{""}, doctest::Contains("set --output"), Error);
  CHECK_THROWS_WITH_AS(OutputFolder{root.path / "file"}, doctest::Contains("expected a folder"), Error);
  CHECK_THROWS_WITH_AS(OutputFolder{root.path / "file/inner"}, doctest::Contains("Not a directory"), Error);
}
