#include "io/row_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"
#include "io/mapped_tensor.h"

namespace beit {
namespace {

int open_nameless(const std::filesystem::path& folder) {
  const int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return file;
  std::string path = (folder / ".rows.XXXXXX").string();  // on a file system without nameless files
  const int named = ::mkostemp(path.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(path.c_str());
  return named;
}

}  // namespace

RowFile::RowFile(const std::filesystem::path& folder)
    : folder_(folder.empty() ? "." : folder), file_(open_nameless(folder_)) {
  require(file_ >= 0, "{}: expected a folder to write into, got \"{}\"; create it or choose another place",
          folder_.string(), std::strerror(errno));
}

RowFile::~RowFile() {
  if (file_ >= 0) ::close(file_);
}

RowFile::RowFile(RowFile&& other) noexcept
    : folder_(std::move(other.folder_)),
      file_(std::exchange(other.file_, -1)),
      shape_(std::move(other.shape_)),
      dtype_(other.dtype_) {}

void RowFile::append(const torch::Tensor& rows) {
  const auto dense = rows.detach().to(torch::kCPU).contiguous();
  require(dense.dim() >= 1, "rows: expected a first dimension, got a scalar");
  if (shape_.empty()) {
    shape_ = dense.sizes().vec();
    shape_[0] = 0;
    dtype_ = dense.scalar_type();
  }
  require(dense.scalar_type() == dtype_ && dense.sizes().slice(1) == torch::IntArrayRef(shape_).slice(1),
          "rows: expected rows like the first, [{}] of {}, got [{}] of {}",
          fmt::join(torch::IntArrayRef(shape_).slice(1), ", "), torch::toString(dtype_),
          fmt::join(dense.sizes().slice(1), ", "), torch::toString(dense.scalar_type()));
  const char* bytes = static_cast<const char*>(dense.const_data_ptr());
  for (size_t left = dense.nbytes(); left > 0;) {
    const ssize_t written = ::write(file_, bytes, left);
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "{}: expected to write {} bytes, got \"{}\"; free some space or choose another place",
            folder_.string(), left, std::strerror(errno));
    bytes += written;
    left -= static_cast<size_t>(written);
  }
  shape_[0] += dense.size(0);
}

torch::Tensor RowFile::tensor() const {
  require(!shape_.empty() && shape_[0] > 0, "rows: expected at least one row, got none");
  return mapped_tensor(MappedFile::open(fmt::format("/proc/self/fd/{}", file_)), 0, shape_, dtype_);
}

}  // namespace beit
