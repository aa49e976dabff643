#include "data/jpeg.h"

#include <jerror.h>
#include <jpeglib.h>
#include <stdio.h>  // jpeglib.h wants FILE

#include <csetjmp>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

struct JpegErrors {
  jpeg_error_mgr manager;  // first: libjpeg hands back its address
  std::jmp_buf caller;
  char text[JMSG_LENGTH_MAX];
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

// libjpeg leaves by a long jump. So each step is a function of its own that owns nothing, and tells by its result
// whether it came to its end.
class JpegReader {
 public:
  JpegReader() {
    info_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = on_error;
    errors_.manager.emit_message = on_message;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool read_header(std::span<const uint8_t> bytes) {
    if (setjmp(errors_.caller) != 0) return false;
    jpeg_create_decompress(&info_);
    jpeg_mem_src(&info_, bytes.data(), bytes.size());
    jpeg_read_header(&info_, TRUE);
    info_.out_color_space = info_.num_components == 4 ? JCS_CMYK : JCS_RGB;
    return true;
  }

  bool read_rows(uint8_t* pixels) {
    if (setjmp(errors_.caller) != 0) return false;
    jpeg_start_decompress(&info_);
    const size_t row_bytes = size_t{info_.output_width} * static_cast<size_t>(info_.output_components);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = pixels + info_.output_scanline * row_bytes;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  int64_t height() const { return info_.image_height; }
  int64_t width() const { return info_.image_width; }
  bool is_cmyk() const { return info_.num_components == 4; }
  const char* error() const { return errors_.text; }

 private:
  jpeg_decompress_struct info_{};
  JpegErrors errors_{};
};

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

torch::Tensor decode_jpeg(std::span<const uint8_t> bytes, std::string_view name) {
  const auto damaged = [&](const JpegReader& reader) {
    fail("{}: expected a whole JPEG image, got: {}; it is damaged or truncated", name, reader.error());
  };
  JpegReader reader;
  if (!reader.read_header(bytes)) damaged(reader);
  require_size(reader.height(), reader.width(), name);
  auto pixels_HWC = torch::empty({reader.height(), reader.width(), 3}, torch::kUInt8);
  if (reader.is_cmyk()) {
    std::vector<uint8_t> cmyk(static_cast<size_t>(reader.height() * reader.width() * 4));
    if (!reader.read_rows(cmyk.data())) damaged(reader);
    cmyk_to_rgb(cmyk, pixels_HWC.mutable_data_ptr<uint8_t>());
  } else if (!reader.read_rows(pixels_HWC.mutable_data_ptr<uint8_t>())) {
    damaged(reader);
  }
  return pixels_HWC;
}

}  // namespace beit
