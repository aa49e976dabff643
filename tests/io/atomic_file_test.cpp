#include "io/atomic_file.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

#include "base/error.h"
#include "tests/io/files.h"
#include "tests/support.h"

using namespace beit;
namespace fs = std::filesystem;

TEST_CASE("atomic file: the old content stands until the new one is whole") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a";
  put_file(path, "old");
  write_file_atomically(path, [&](const Sink& sink) {
    sink("ne");
    CHECK(file_bytes(path) == "old");
    sink("w");
    CHECK(file_bytes(path) == "old");
  });
  CHECK(file_bytes(path) == "new");
  write_file_atomically(path, "");
  CHECK(file_bytes(path).empty());
  CHECK(count_files(folder.path) == 1);
}

TEST_CASE("atomic file: a writer that throws leaves what was there, and nothing beside it") {
  const TemporaryFolder folder;
  const auto half = [](const Sink& sink) {
    sink("half");
    throw std::runtime_error("stop");
  };
  CHECK_THROWS_WITH(write_file_atomically(folder.path / "none", half), "stop");
  CHECK(count_files(folder.path) == 0);
  put_file(folder.path / "a", "old");
  CHECK_THROWS_WITH(write_file_atomically(folder.path / "a", half), "stop");
  CHECK(file_bytes(folder.path / "a") == "old");
  CHECK(count_files(folder.path) == 1);
}

TEST_CASE("atomic file: a process that dies while it writes leaves the old file") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a";
  put_file(path, "old");
  const pid_t child = ::fork();
  if (child == 0) {
    write_file_atomically(path, [](const Sink& sink) {
      sink("half");
      ::_exit(7);
    });
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(file_bytes(path) == "old");
  REQUIRE(count_files(folder.path) == 2);
  for (const auto& entry : fs::directory_iterator(folder.path)) {
    const std::string name = entry.path().filename().string();
    if (name != "a") CHECK((name.starts_with(fmt::format(".a.{}-", child)) && name.ends_with(".tmp")));
  }
}

TEST_CASE("atomic file: a disk that takes no more bytes is an error, and the old file stays") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a";
  put_file(path, "old");
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const struct rlimit small { .rlim_cur = 1000, .rlim_max = before.rlim_max };
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    write_file_atomically(path, std::string(1500, 'x'));
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(message.starts_with(path.string() + ": expected to write the new file, got \"File too large\" at offset 1000"));
  CHECK(file_bytes(path) == "old");
  CHECK(count_files(folder.path) == 1);
}

TEST_CASE("atomic file: a place that cannot be written to is an error with its reason") {
  const TemporaryFolder folder;
  const auto missing = folder.path / "none" / "a";
  CHECK_THROWS_WITH_AS(write_file_atomically(missing, "x"), doctest::Contains("No such file or directory"), Error);
  CHECK_THROWS_WITH_AS(write_file_atomically(missing, "x"), doctest::Contains(missing.c_str()), Error);
  CHECK_THROWS_WITH_AS(write_file_atomically(folder.path, "x"), doctest::Contains("got a folder or a device"), Error);
  CHECK_THROWS_WITH_AS(write_file_atomically("/dev/null", "x"), doctest::Contains("got a folder or a device"), Error);
  put_file(folder.path / "file", "x");
  CHECK_THROWS_WITH_AS(write_file_atomically(folder.path / "file" / "a", "x"), doctest::Contains("Not a directory"),
                       Error);
  CHECK_THROWS_WITH_AS(write_file_atomically(folder.path / std::string(300, 'n'), "x"),
                       doctest::Contains("File name too long"), Error);

  fs::permissions(folder.path, fs::perms::owner_read | fs::perms::owner_exec);
  const bool root = ::geteuid() == 0;
  if (root) REQUIRE(::seteuid(65534) == 0);  // permissions do not bind root
  CHECK_THROWS_WITH_AS(write_file_atomically(folder.path / "b", "x"), doctest::Contains("Permission denied"), Error);
  CHECK_THROWS_WITH_AS(require_writable(folder.path / "b"), doctest::Contains("may be written to"), Error);
  if (root) REQUIRE(::seteuid(0) == 0);
  fs::permissions(folder.path, fs::perms::owner_all);
  CHECK(count_files(folder.path) == 1);
}

TEST_CASE("atomic file: what killed processes left of some files is removed, and nothing else") {
  const TemporaryFolder folder;
  for (const char* name : {".set-1.tar.7-0.tmp", ".other-1.tar.7-0.tmp", "set-1.tar", ".set-1.tar"}) {
    put_file(folder.path / name, "x");
  }
  remove_unfinished(folder.path, "set-");
  CHECK(count_files(folder.path) == 3);
  CHECK(!fs::exists(folder.path / ".set-1.tar.7-0.tmp"));
  remove_unfinished(folder.path / "none", "set-");
}

TEST_CASE("atomic file: a symbolic link is followed and stays one") {
  const TemporaryFolder folder;
  fs::create_directory(folder.path / "inner");
  put_file(folder.path / "inner" / "a", "old");
  fs::create_symlink("inner/a", folder.path / "link");
  write_file_atomically(folder.path / "link", "new");
  CHECK(fs::is_symlink(folder.path / "link"));
  CHECK(file_bytes(folder.path / "inner" / "a") == "new");
}

TEST_CASE("atomic file: what cannot be written later is found out before") {
  const TemporaryFolder folder;
  CHECK_NOTHROW(require_writable(folder.path / "a"));
  CHECK(count_files(folder.path) == 0);
  CHECK_THROWS_WITH_AS(require_writable(folder.path), doctest::Contains("got a folder"), Error);
  CHECK_THROWS_WITH_AS(require_writable(folder.path / "none" / "a"), doctest::Contains("a folder that is missing"),
                       Error);
  CHECK_THROWS_AS(require_writable(folder.path / std::string(300, 'n') / "a"), Error);
}
