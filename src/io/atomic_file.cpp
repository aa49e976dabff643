#include "io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// A new file beside `target`, removed again unless committed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const fs::path& target) : target_(target) {
    static std::atomic<int> counter = 0;
    do {
      path_ = folder() / fmt::format(".{}.{}-{}.tmp", target.filename().string(), ::getpid(), counter++);
      file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (file_ < 0 && errno == EEXIST);  // what a killed process of the same number left
    require(file_ >= 0, "{}: expected a folder to write into, got \"{}\"; create it or choose another place",
            target_.string(), std::strerror(errno));
  }

  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  ~TemporaryFile() {
    if (file_ < 0) return;
    ::close(file_);
    ::unlink(path_.c_str());
  }

  void append(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(file_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      check(written > 0, "to write");
      written_ += static_cast<size_t>(written);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
  }

  void commit() {
    check(::fsync(file_) == 0, "to sync");
    check(::rename(path_.c_str(), target_.c_str()) == 0, "to rename");
    ::close(file_);
    file_ = -1;
    // The content is safe and in place; a file system that cannot sync a folder is no reason to fail.
    if (const int folder_file = ::open(folder().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); folder_file >= 0) {
      ::fsync(folder_file);
      ::close(folder_file);
    }
  }

 private:
  fs::path folder() const { return target_.has_parent_path() ? target_.parent_path() : "."; }

  void check(bool done, std::string_view what) const {
    require(done, "{}: expected {} the new file, got \"{}\" at offset {}; free some space or choose another place",
            target_.string(), what, std::strerror(errno), written_);
  }

  fs::path target_, path_;
  int file_ = -1;
  size_t written_ = 0;
};

}  // namespace

void write_file_atomically(const fs::path& path, const std::function<void(const Sink&)>& writer) {
  std::error_code ignored;  // a path that cannot be looked at fails below, with its reason
  const fs::path real = fs::is_symlink(path, ignored) ? fs::weakly_canonical(path, ignored) : path;
  const fs::path& target = real.empty() ? path : real;  // of a pipe
  // Renaming over a device as root would replace it.
  require(!fs::exists(target, ignored) || fs::is_regular_file(target, ignored),
          "{}: expected a regular file or none, got a folder or a device; choose another place", path.string());
  TemporaryFile file(target);
  writer([&file](std::string_view bytes) { file.append(bytes); });
  file.commit();
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  write_file_atomically(path, [bytes](const Sink& sink) { sink(bytes); });
}

void remove_unfinished(const fs::path& folder, std::string_view prefix) {
  std::error_code ignored;  // a file that cannot be removed costs space only
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(fmt::format(".{}", prefix)) && name.ends_with(".tmp")) fs::remove(entry.path(), ignored);
  }
}

void require_writable(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code ignored;  // what cannot be looked at is no folder to write into
  const bool is_folder = fs::is_directory(path, ignored);
  require(fs::is_directory(folder, ignored) && !is_folder,
          "{}: expected a file name in an existing folder, got {}; create the folder or choose another place",
          path.string(), is_folder ? "a folder" : "a folder that is missing");
  const bool writable = ::faccessat(AT_FDCWD, folder.c_str(), W_OK, AT_EACCESS) == 0;
  require(writable, "{}: expected a folder that may be written to, got \"{}\"; choose another place", path.string(),
          std::strerror(errno));
}

}  // namespace beit
