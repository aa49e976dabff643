#include "cli/feature_rows.h"

#include "base/error.h"
#include "cli/resources.h"
#include "cli/table.h"

namespace beit {

void FeatureRows::append(const torch::Tensor& rows) {
  if (file_) {
    file_->append(rows.to(dtype_));
    return;
  }
  if (!memory_.defined()) {
    auto shape = rows.sizes().vec();
    shape[0] = images_;
    memory_ = torch::empty(shape, dtype_);
  }
  memory_.slice(0, rows_, rows_ + rows.size(0)).copy_(rows);
  rows_ += rows.size(0);
}

torch::Tensor FeatureRows::tensor() const {
  if (file_) return file_->tensor();
  require(rows_ > 0, "rows: expected at least one row, got none");
  return memory_.slice(0, 0, rows_);
}

int64_t FeatureRows::row_bytes(const torch::Tensor& rows) const {
  return rows.numel() / rows.size(0) * static_cast<int64_t>(torch::elementSize(dtype_));
}

void require_memory(int64_t need_bytes, std::string_view what, std::string_view remedy) {
  const auto available = available_memory();
  require(!available || need_bytes <= *available, "probe: expected memory of {} for {}, got {} available; {}",
          readable_bytes(need_bytes), what, readable_bytes(available.value_or(0)), remedy);
}

void require_disk(const std::filesystem::path& path, int64_t need_bytes, std::string_view what) {
  const auto available = available_disk(path);
  require(!available || need_bytes <= *available,
          "{}: expected room of {} for {} and their copy while the file is written, got {} available; fewer --layer, "
          "or another place",
          path.string(), readable_bytes(need_bytes), what, readable_bytes(available.value_or(0)));
}

}  // namespace beit
