// Rows that are written one batch after another and then used as one tensor, without ever being held in memory.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <vector>

namespace beit {

/// A file without a name in a folder: it is gone with this object and its tensors, also where the process is killed.
/// Used by one thread.
class RowFile {
 public:
  /// Error where no file can be made in the folder.
  explicit RowFile(const std::filesystem::path& folder);
  ~RowFile();
  RowFile(RowFile&& other) noexcept;
  RowFile(const RowFile&) = delete;
  RowFile& operator=(const RowFile&) = delete;

  /// Rows [B, ...] of any device and strides. Error where dtype or shape are not those of the first ones, and where the
  /// disk refuses them.
  void append(const torch::Tensor& rows);

  /// All rows so far, [M, ...] on the CPU: a view of the file, which it keeps. Error without any.
  torch::Tensor tensor() const;

 private:
  std::filesystem::path folder_;
  int file_ = -1;
  std::vector<int64_t> shape_;  ///< of all rows; empty at first
  torch::ScalarType dtype_ = torch::kFloat32;
};

}  // namespace beit
