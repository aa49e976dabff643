#include "io/output_folder.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/process.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

fs::path process_file(const fs::path& folder) { return folder / ".process"; }

/// A lock of a whole file that belongs to the descriptor: it ends with the process, and others can ask about it.
struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

/// Whether the open file is still the one at that path: its holder removes it as it ends.
bool lies_at(int file, const fs::path& path) {
  struct stat open {
  }, there{};
  return ::fstat(file, &open) == 0 && ::stat(path.c_str(), &there) == 0 && open.st_ino == there.st_ino &&
         open.st_dev == there.st_dev;
}

/// This process' command line, words with blanks in quotes.
std::string command_line() {
  std::string text;
  for (std::string word : own_words()) {
    if (text.empty()) word = fs::path(word).filename().string();
    const bool plain = !word.empty() && word.find_first_of(" \t\n'\"") == std::string::npos;
    text += fmt::format("{}{}", text.empty() ? "" : " ", plain ? word : "'" + word + "'");
  }
  return text;
}

std::string own_description() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return Json{{"process", ::getpid()},
              {"host", host_name()},
              {"command", command_line()},
              {"started", std::chrono::duration_cast<std::chrono::seconds>(now).count()}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// What the file says, as far as it can be read: a full disk leaves it empty.
FolderHolder read_description(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto entry = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  FolderHolder holder;
  if (!entry.is_object()) return holder;
  const auto number = [&](const char* key) {
    const auto found = entry.find(key);
    return found != entry.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
  };
  const auto words = [&](const char* key) {
    const auto found = entry.find(key);
    return found != entry.end() && found->is_string() ? on_one_line(found->get<std::string>()) : std::string();
  };
  return {
      .process = number("process"), .host = words("host"), .command = words("command"), .started = number("started")};
}

std::string readable_time(int64_t seconds) {
  constexpr int64_t kLatest = 253402300799;  // of the year 9999
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC",
                     fmt::gmtime(static_cast<std::time_t>(std::clamp<int64_t>(seconds, 0, kLatest))));
}

}  // namespace

OutputFolder::OutputFolder(fs::path folder) : path_(std::move(folder)) {
  require(!path_.empty(), "output: expected a folder to write to, got none; set --output FOLDER");
  std::error_code error;
  fs::create_directories(path_, error);
  require(fs::is_directory(path_),
          "{}: expected a folder or a place to create it, got \"{}\"; choose another "
          "--output",
          path_.string(), error ? error.message() : "a file");
  require(::access(path_.c_str(), W_OK | X_OK) == 0,
          "{}: expected a folder that may be written to, got one that may not; choose another --output",
          path_.string());
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  // Some network file systems know no locks of folders; perhaps they know those of files.
  bool taken = lock_ >= 0 && ::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (!taken) {
    constexpr int kTries = 100;
    int tries = 0;
    do {
      if (process_ >= 0) ::close(process_);
      process_ = ::open(process_file(path_).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
      struct flock lock = whole_file();
      taken = process_ >= 0 && ::fcntl(process_, F_OFD_SETLK, &lock) != 0 && (errno == EAGAIN || errno == EACCES);
    } while (process_ >= 0 && !taken && !lies_at(process_, process_file(path_)) && ++tries < kTries);
  }
  if (taken) {
    if (process_ >= 0) ::close(process_);
    if (lock_ >= 0) ::close(lock_);
    const FolderHolder holder = holder_of(path_).value_or(FolderHolder{});
    fail(
        "{}: expected a folder of this process alone, got one that another process is writing to, held by {}; wait for "
        "it, or choose another --output",
        path_.string(), readable(holder));
  }
  if (process_ < 0) return;
  const std::string text = own_description();
  // A disk without room is no reason to fail: then nobody learns the holder's name, and the first checkpoint says why.
  if (::ftruncate(process_, 0) == 0) (void)!::pwrite(process_, text.data(), text.size(), 0);
}

OutputFolder::~OutputFolder() {
  if (process_ >= 0) {
    ::unlink(process_file(path_).c_str());
    ::close(process_);
  }
  if (lock_ >= 0) ::close(lock_);
}

std::optional<FolderHolder> holder_of(const fs::path& folder) {
  const fs::path path = process_file(folder);
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) return std::nullopt;
  struct flock lock = whole_file();
  const bool held = ::fcntl(file, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  ::close(file);
  if (!held) return std::nullopt;
  FolderHolder holder = read_description(path);
  // It holds the folder a moment before it says who it is.
  for (int tries = 0; holder.process == 0 && tries < 5; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    holder = read_description(path);
  }
  return holder;
}

std::string readable(const FolderHolder& holder) {
  if (holder.process == 0) return "a process that could not say which";
  constexpr size_t kLongest = 200;
  const std::string command =
      holder.command.size() <= kLongest ? holder.command : holder.command.substr(0, kLongest) + "...";
  return fmt::format("process {} on host {} (`{}`) since {}", holder.process, holder.host, command,
                     readable_time(holder.started));
}

}  // namespace beit
