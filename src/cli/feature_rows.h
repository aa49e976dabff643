// Features of a data set, gathered batch by batch: in memory or on disk.
// Shape letters: B images of a batch, M images of a data set.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "io/row_file.h"

namespace beit {

/// The rows of one kind of feature.
class FeatureRows {
 public:
  /// In memory, which is taken with the first rows; at most `images` rows.
  FeatureRows(int64_t images, torch::ScalarType dtype) : images_(images), dtype_(dtype) {}
  /// In a nameless file of the folder.
  FeatureRows(const std::filesystem::path& folder, torch::ScalarType dtype) : dtype_(dtype), file_(folder) {}

  /// [B, ...]
  void append(const torch::Tensor& rows);
  /// [M, ...] on the CPU. Error without rows.
  torch::Tensor tensor() const;

  bool in_memory() const { return !file_; }
  /// What a row like these takes.
  int64_t row_bytes(const torch::Tensor& rows) const;

 private:
  int64_t images_ = 0, rows_ = 0;
  torch::ScalarType dtype_;
  torch::Tensor memory_;
  std::optional<RowFile> file_;
};

/// Error of `beit probe` where `need_bytes` are more than the machine has left, which says what takes them (`what`) and
/// what to try.
void require_memory(int64_t need_bytes, std::string_view what, std::string_view remedy);
/// The same of the disk that `path` lies on, of any command.
void require_disk(const std::filesystem::path& path, int64_t need_bytes, std::string_view what);

}  // namespace beit
