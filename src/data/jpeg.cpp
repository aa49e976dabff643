#include "data/jpeg.h"

#include <jerror.h>
#include <jpeglib.h>
#include <stdio.h>  // jpeglib.h wants FILE

#include <algorithm>
#include <csetjmp>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/image.h"
#include "data/jpeg_scan.h"

namespace beit {
namespace {

struct JpegErrors {
  jpeg_error_mgr manager;  // first: libjpeg hands back its address
  std::jmp_buf caller;
  char text[JMSG_LENGTH_MAX];
  bool scan_gave_up;
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->text);
  std::longjmp(errors->caller, 1);
}

// libjpeg would go on with grey where the file ends too early. Other warnings it shares with Pillow: they pass.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

[[noreturn]] void on_scan_giving_up(j_decompress_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  errors->scan_gave_up = true;
  std::longjmp(errors->caller, 1);
}

// A few bytes can state another scan of the whole picture: a small file would decode for hours.
constexpr int kMostScans = 200;
void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMostScans) {
    auto* errors = reinterpret_cast<JpegErrors*>(info->err);
    std::snprintf(errors->text, sizeof(errors->text), "more than %d scans", kMostScans);
    std::longjmp(errors->caller, 1);
  }
}

// Files with four components hold inverted ink, as Adobe's programs write it.
void cmyk_to_rgb(const std::vector<uint8_t>& cmyk, uint8_t* rgb) {
  for (size_t i = 0; i < cmyk.size(); i += 4) {
    const int white = cmyk[i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[i + c]) * white + 128;
      *rgb++ = static_cast<uint8_t>(white - ((product + (product >> 8)) >> 8));
    }
  }
}

}  // namespace

// libjpeg leaves by a long jump. So each step is a function of its own that owns nothing, and tells by its result
// whether it came to its end.
class JpegFile::Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {
    info_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = on_error;
    errors_.manager.emit_message = on_message;
    progress_.progress_monitor = on_progress;
  }
  ~Reader() { jpeg_destroy_decompress(&info_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  bool read_header() {
    if (setjmp(errors_.caller) != 0) return false;
    if (info_.mem == nullptr) jpeg_create_decompress(&info_);
    jpeg_abort_decompress(&info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, bytes_.data(), bytes_.size());
    jpeg_read_header(&info_, TRUE);
    info_.out_color_space = is_cmyk() ? JCS_CMYK : JCS_RGB;
    fresh_ = true;
    return true;
  }

  /// Whether the mark of the end stands somewhere after the header. A scan's bytes never look like it.
  bool has_end() const {
    const auto scan = bytes_.last(info_.src->bytes_in_buffer);
    for (size_t i = scan.size(); i >= 2; --i) {
      if (scan[i - 2] == 0xff && scan[i - 1] == JPEG_EOI) return true;
    }
    return false;
  }

  /// `left` and `width` come back as what will be decoded, a little more.
  bool start(unsigned eighths, unsigned& left, unsigned& width) {
    if (setjmp(errors_.caller) != 0) return false;
    fresh_ = false;
    info_.scale_num = eighths;
    info_.scale_denom = 8;
    jpeg_start_decompress(&info_);
    if (!errors_.scan_gave_up) scan_.take_over(&info_, on_scan_giving_up);
    if (width < info_.output_width) jpeg_crop_scanline(&info_, &left, &width);
    return true;
  }

  /// Rows [top, top + rows).
  bool read_rows(unsigned top, unsigned rows, uint8_t* pixels) {
    if (setjmp(errors_.caller) != 0) return false;
    if (top > 0) jpeg_skip_scanlines(&info_, top);
    const size_t row_bytes = size_t{info_.output_width} * static_cast<size_t>(info_.output_components);
    while (info_.output_scanline < top + rows) {
      JSAMPROW row = pixels + (info_.output_scanline - top) * row_bytes;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    return true;
  }

  bool fresh() const { return fresh_; }
  /// From then on the image goes through libjpeg's own decoder.
  bool scan_gave_up() const { return errors_.scan_gave_up; }
  int64_t height() const { return info_.image_height; }
  int64_t width() const { return info_.image_width; }
  bool is_cmyk() const { return info_.num_components == 4; }
  const char* error() const { return errors_.text; }

 private:
  std::span<const uint8_t> bytes_;
  jpeg_decompress_struct info_{};
  JpegErrors errors_{};
  jpeg_progress_mgr progress_{};
  JpegScan scan_;
  bool fresh_ = false;  // the header is read, and nothing after it
};

JpegFile::JpegFile(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels)
    : reader_(std::make_unique<Reader>(bytes)), name_(name) {
  if (!reader_->read_header()) damaged();
  require_size(reader_->height(), reader_->width(), name_, most_pixels);
  require(reader_->has_end(), "{}: expected a whole JPEG image, got one without an end; it is truncated", name_);
}

JpegFile::~JpegFile() = default;
JpegFile::JpegFile(JpegFile&&) noexcept = default;
JpegFile& JpegFile::operator=(JpegFile&&) noexcept = default;

ImageSize JpegFile::size() const { return {reader_->height(), reader_->width()}; }

void JpegFile::damaged() const {
  fail("{}: expected a whole JPEG image, got: {}; it is damaged, truncated or of a rare kind: fetch or convert it",
       name_, reader_->error());
}

torch::Tensor JpegFile::decode() { return decode(whole_of(size())).pixels_HWC; }

DecodedPart JpegFile::decode(const Box& part) { return decode(part, 8U); }

DecodedPart JpegFile::decode(const Box& part, const ImageSize& at_least) {
  unsigned eighths = 1;
  while (eighths < 8 && (part.height * eighths < at_least.height * 8 || part.width * eighths < at_least.width * 8)) {
    eighths *= 2;
  }
  return decode(part, eighths);
}

DecodedPart JpegFile::decode(const Box& part, unsigned eighths) {
  require(contains(whole_of(size()), part) && !part.is_empty(),
          "{}: expected a part within {} x {}, got {} x {} from {}, {} on", name_, reader_->height(), reader_->width(),
          part.height, part.width, part.top, part.left);
  const bool gave_up = reader_->scan_gave_up();
  std::optional<DecodedPart> decoded = try_decode(part, eighths);
  if (!decoded && reader_->scan_gave_up() != gave_up) decoded = try_decode(part, eighths);
  if (!decoded) damaged();
  return *std::move(decoded);
}

std::optional<DecodedPart> JpegFile::try_decode(const Box& part, unsigned eighths) {
  if (!reader_->fresh() && !reader_->read_header()) return std::nullopt;
  const auto down = [&](int64_t at) { return static_cast<unsigned>(at * eighths / 8); };
  const auto up = [&](int64_t at, int64_t most) {
    return static_cast<unsigned>((std::min(at, most) * eighths + 7) / 8);
  };
  // Upsampling of colours looks a pixel further, which must not be the edge of what is decoded.
  constexpr int64_t kMargin = 16;
  const unsigned top = down(part.top);
  const unsigned bottom = up(part.top + part.height, reader_->height());
  unsigned left = down(std::max<int64_t>(0, part.left - kMargin));
  unsigned width = up(part.left + part.width + kMargin, reader_->width()) - left;
  if (!reader_->start(eighths, left, width)) return std::nullopt;

  DecodedPart decoded{torch::empty({bottom - top, width, 3}, torch::kUInt8), eighths / 8.0, top, left};
  auto* pixels = decoded.pixels_HWC.mutable_data_ptr<uint8_t>();
  if (reader_->is_cmyk()) {
    std::vector<uint8_t> cmyk(size_t{bottom - top} * width * 4);
    if (!reader_->read_rows(top, bottom - top, cmyk.data())) return std::nullopt;
    cmyk_to_rgb(cmyk, pixels);
  } else if (!reader_->read_rows(top, bottom - top, pixels)) {
    return std::nullopt;
  }
  return decoded;
}

}  // namespace beit
