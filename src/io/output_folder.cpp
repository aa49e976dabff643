#include "io/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"

namespace beit {

OutputFolder::OutputFolder(std::filesystem::path folder) : path_(std::move(folder)) {
  require(!path_.empty(), "output: expected a folder to write to, got none; set --output FOLDER");
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  require(std::filesystem::is_directory(path_),
          "{}: expected a folder or a place to create it, got \"{}\"; choose another "
          "--output",
          path_.string(), error ? error.message() : "a file");
  require(::access(path_.c_str(), W_OK | X_OK) == 0,
          "{}: expected a folder that may be written to, got one that may not; choose another --output",
          path_.string());
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  // Some network file systems know no locks: then there is none.
  const bool taken = lock_ >= 0 && ::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (taken) ::close(lock_);
  require(!taken,
          "{}: expected a folder of this process alone, got one that another process is writing to; wait for it, "
          "or choose another --output",
          path_.string());
}

OutputFolder::~OutputFolder() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace beit
