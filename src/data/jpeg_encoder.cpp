#include "data/jpeg_encoder.h"

#include <jpeglib.h>
#include <stdio.h>  // jpeglib.h wants FILE

#include <csetjmp>
#include <cstdlib>

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

// libjpeg leaves by a long jump: write() owns nothing.
class JpegWriter {
 public:
  JpegWriter() {
    info_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = on_error;
  }
  ~JpegWriter() {
    jpeg_destroy_compress(&info_);
    std::free(bytes_);
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;

  bool write(const uint8_t* pixels, JDIMENSION height, JDIMENSION width, int quality) {
    if (setjmp(errors_.caller) != 0) {
      bytes_ = nullptr;  // libjpeg's, as far as one can know
      return false;
    }
    jpeg_create_compress(&info_);
    jpeg_mem_dest(&info_, &bytes_, &size_);
    info_.image_height = height;
    info_.image_width = width;
    info_.input_components = 3;
    info_.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info_);
    jpeg_set_quality(&info_, quality, TRUE);
    info_.optimize_coding = TRUE;
    jpeg_start_compress(&info_, TRUE);
    while (info_.next_scanline < height) {
      JSAMPROW row = const_cast<uint8_t*>(pixels) + size_t{info_.next_scanline} * width * 3;
      jpeg_write_scanlines(&info_, &row, 1);
    }
    jpeg_finish_compress(&info_);
    return true;
  }

  std::vector<uint8_t> bytes() const { return {bytes_, bytes_ + size_}; }
  const char* error() const { return errors_.text; }

 private:
  jpeg_compress_struct info_{};
  JpegErrors errors_{};
  unsigned char* bytes_ = nullptr;
  unsigned long size_ = 0;
};

}  // namespace

std::vector<uint8_t> encode_jpeg(const torch::Tensor& pixels_HWC, int quality) {
  require_pixels(pixels_HWC, "jpeg");
  require(quality >= 1 && quality <= 100, "jpeg: expected a quality from 1 to 100, got {}", quality);
  require(pixels_HWC.size(0) <= JPEG_MAX_DIMENSION && pixels_HWC.size(1) <= JPEG_MAX_DIMENSION,
          "jpeg: expected sides of at most {} pixels, got {} x {}", JPEG_MAX_DIMENSION, pixels_HWC.size(0),
          pixels_HWC.size(1));
  JpegWriter writer;
  require(writer.write(pixels_HWC.const_data_ptr<uint8_t>(), static_cast<JDIMENSION>(pixels_HWC.size(0)),
                       static_cast<JDIMENSION>(pixels_HWC.size(1)), quality),
          "jpeg: expected to encode {} x {} pixels, got: {}", pixels_HWC.size(0), pixels_HWC.size(1), writer.error());
  return writer.bytes();
}

}  // namespace beit
