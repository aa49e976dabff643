#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace beit {

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const std::string name = path.string();
  const struct Descriptor {
    int value;
    ~Descriptor() {
      if (value >= 0) ::close(value);
    }
  } file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a pipe must not make us wait
  require(file.value >= 0, "{}: expected a readable file, got \"{}\"; check the path", name, std::strerror(errno));
  struct stat status {};
  require(::fstat(file.value, &status) == 0 && S_ISREG(status.st_mode),
          "{}: expected a regular file, got a folder or a device; name a file", name);

  std::span<uint8_t> bytes;
  if (const auto size = static_cast<size_t>(status.st_size); size > 0) {  // an empty mapping does not exist
    void* const start = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.value, 0);
    require(start != MAP_FAILED, "{}: expected to map {} bytes, got \"{}\"; free some memory", name, size,
            std::strerror(errno));
    bytes = {static_cast<uint8_t*>(start), size};
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(name, bytes));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

std::string printable(std::string_view name) {
  constexpr size_t kShown = 80;
  return on_one_line("\"" + std::string(name.substr(0, kShown)) + (name.size() > kShown ? "...\"" : "\""));
}

}  // namespace beit
