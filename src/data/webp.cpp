#include "data/webp.h"

#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

[[noreturn]] void fail_damaged(std::string_view name, std::string_view what) {
  fail("{}: expected a whole WebP image, got {}; it is damaged or truncated", name, what);
}

void decode_into(std::span<const uint8_t> bytes, uint8_t* out, int64_t out_bytes, int64_t row_bytes,
                 std::string_view name) {
  if (WebPDecodeRGBInto(bytes.data(), bytes.size(), out, static_cast<size_t>(out_bytes), static_cast<int>(row_bytes)) ==
      nullptr) {
    fail_damaged(name, "pixels that do not decode");
  }
}

// The first frame, at its place on a canvas that is black elsewhere.
void decode_first_frame(std::span<const uint8_t> bytes, const torch::Tensor& canvas_HWC, std::string_view name) {
  const WebPData data{bytes.data(), bytes.size()};
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> file(WebPDemux(&data), &WebPDemuxDelete);
  WebPIterator frame{};
  if (file == nullptr || WebPDemuxGetFrame(file.get(), 1, &frame) == 0) fail_damaged(name, "no whole animation");
  const std::unique_ptr<WebPIterator, decltype(&WebPDemuxReleaseIterator)> release(&frame, &WebPDemuxReleaseIterator);
  if (frame.x_offset < 0 || frame.y_offset < 0 || frame.width < 1 || frame.height < 1 ||
      frame.x_offset + frame.width > canvas_HWC.size(1) || frame.y_offset + frame.height > canvas_HWC.size(0)) {
    fail_damaged(name, "a frame beyond its canvas");
  }
  auto* out = canvas_HWC.mutable_data_ptr<uint8_t>();
  std::fill_n(out, canvas_HWC.numel(), uint8_t{0});
  const int64_t row_bytes = canvas_HWC.size(1) * 3, at = frame.y_offset * row_bytes + frame.x_offset * 3;
  decode_into({frame.fragment.bytes, frame.fragment.size}, out + at, canvas_HWC.numel() - at, row_bytes, name);
}

}  // namespace

torch::Tensor decode_webp(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels) {
  WebPBitstreamFeatures features{};
  if (WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK) fail_damaged(name, "no valid header");
  require_size(features.height, features.width, name, most_pixels);
  auto pixels_HWC = torch::empty({features.height, features.width, 3}, torch::kUInt8);
  if (features.has_animation != 0) {
    decode_first_frame(bytes, pixels_HWC, name);
  } else {
    decode_into(bytes, pixels_HWC.mutable_data_ptr<uint8_t>(), pixels_HWC.numel(), features.width * 3, name);
  }
  return pixels_HWC;
}

}  // namespace beit
