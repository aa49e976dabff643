#include "data/label_map.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "data/image.h"
#include "data/png.h"

namespace beit {
namespace {

std::vector<int64_t> nearest(int64_t in, int64_t out) {
  const double scale = 1.0 / (static_cast<double>(out) / static_cast<double>(in));
  std::vector<int64_t> from;
  for (int64_t i = 0; i < out; ++i) {
    from.push_back(std::min(in - 1, static_cast<int64_t>(std::floor(static_cast<double>(i) * scale))));
  }
  return from;
}

}  // namespace

torch::Tensor decode_label_map(std::span<const uint8_t> bytes, std::string_view name) {
  require(image_format(bytes) == ImageFormat::kPng,
          "{}: expected a label map as a PNG of grey values or palette indices, got {}; convert it without loss", name,
          bytes.empty() ? "an empty file" : "another format");
  return decode_png_indices(bytes, name);
}

void drop_zero_label_(const torch::Tensor& labels_HW) {
  require_labels(labels_HW, "drop_zero_label_");
  auto* labels = labels_HW.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < labels_HW.numel(); ++i) {
    if (labels[i] != kIgnoredLabel) --labels[i];  // 0 becomes 255
  }
}

torch::Tensor resize_labels(const torch::Tensor& labels_HW, const ImageSize& size) {
  require_labels(labels_HW, "resize_labels");
  require_size(size.height, size.width, "resize_labels");
  const auto rows = nearest(labels_HW.size(0), size.height), columns = nearest(labels_HW.size(1), size.width);
  auto out_HW = torch::empty({size.height, size.width}, torch::kUInt8);
  const auto* in = labels_HW.const_data_ptr<uint8_t>();
  auto* out = out_HW.mutable_data_ptr<uint8_t>();
  for (const int64_t row : rows) {
    for (const int64_t column : columns) *out++ = in[row * labels_HW.size(1) + column];
  }
  return out_HW;
}

void require_labels(const torch::Tensor& labels_HW, std::string_view where) {
  require(labels_HW.defined() && labels_HW.dim() == 2 && labels_HW.numel() > 0 &&
              labels_HW.scalar_type() == torch::kUInt8 && labels_HW.is_contiguous() && labels_HW.is_cpu(),
          "{}: expected contiguous uint8 labels [H, W] with H, W >= 1, got {} [{}]", where,
          labels_HW.defined() ? c10::toString(labels_HW.scalar_type()) : "nothing",
          labels_HW.defined() ? fmt::to_string(fmt::join(labels_HW.sizes(), ", ")) : "");
}

}  // namespace beit
