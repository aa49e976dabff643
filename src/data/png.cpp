#include "data/png.h"

#include <png.h>

#include <cstring>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

// libpng leaves by a long jump. So each step is a function of its own that owns nothing, and tells by its result
// whether it came to its end.
class PngReader {
 public:
  explicit PngReader(std::span<const uint8_t> bytes) : rest_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool read_header() {
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, take);
    png_read_info(png_, info_);
    png_set_palette_to_rgb(png_);
    png_set_expand_gray_1_2_4_to_8(png_);
    png_set_strip_16(png_);
    png_set_strip_alpha(png_);
    png_set_gray_to_rgb(png_);
    passes_ = png_set_interlace_handling(png_);
    return true;
  }

  bool read_rows(uint8_t* pixels) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != size_t{png_get_image_width(png_, info_)} * 3) png_error(png_, "no RGB rows");
    for (int pass = 0; pass < passes_; ++pass) {
      for (int64_t y = 0; y < height(); ++y) png_read_row(png_, pixels + y * width() * 3, nullptr);
    }
    png_read_end(png_, nullptr);
    return true;
  }

  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t width() const { return png_get_image_width(png_, info_); }
  const char* error() const { return text_; }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(reader->text_, text, sizeof(reader->text_) - 1);
    png_longjmp(png, 1);
  }

  static void on_warning(png_structp, png_const_charp) {}

  static void take(png_structp png, png_bytep out, size_t count) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > reader->rest_.size()) png_error(png, "the file ends too early");
    std::memcpy(out, reader->rest_.data(), count);
    reader->rest_ = reader->rest_.subspan(count);
  }

  std::span<const uint8_t> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  char text_[128] = "no memory for libpng";
};

}  // namespace

torch::Tensor decode_png(std::span<const uint8_t> bytes, std::string_view name) {
  const auto damaged = [&](const PngReader& reader) {
    fail("{}: expected a whole PNG image, got: {}; it is damaged or truncated", name, reader.error());
  };
  PngReader reader(bytes);
  if (!reader.read_header()) damaged(reader);
  require_size(reader.height(), reader.width(), name);
  auto pixels_HWC = torch::empty({reader.height(), reader.width(), 3}, torch::kUInt8);
  if (!reader.read_rows(pixels_HWC.mutable_data_ptr<uint8_t>())) damaged(reader);
  return pixels_HWC;
}

}  // namespace beit
