#include "data/png.h"

#include <png.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "data/image.h"
#include "data/label_map.h"

namespace beit {
namespace {

enum class PngRows { kRgb, kBigEndianGrey, kIndices };

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
    // Only what pixels are made of: libpng would take memory for as many bytes as another chunk claims to have.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png_, info_);
    return true;
  }

  // Rows of `pixel_bytes` a pixel, in the form that is wanted.
  bool read_rows(PngRows form, uint8_t* rows, int64_t pixel_bytes) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    switch (form) {
      case PngRows::kRgb:
        png_set_palette_to_rgb(png_);
        png_set_expand_gray_1_2_4_to_8(png_);
        png_set_strip_16(png_);
        png_set_strip_alpha(png_);
        png_set_gray_to_rgb(png_);
        break;
      case PngRows::kBigEndianGrey: break;
      case PngRows::kIndices: png_set_packing(png_); break;
    }
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    const int64_t row_bytes = width() * pixel_bytes;
    if (static_cast<int64_t>(png_get_rowbytes(png_, info_)) != row_bytes) png_error(png_, "rows of another length");
    for (int pass = 0; pass < passes; ++pass) {
      for (int64_t y = 0; y < height(); ++y) png_read_row(png_, rows + y * row_bytes, nullptr);
    }
    png_read_end(png_, nullptr);
    return true;
  }

  int color_type() const { return png_get_color_type(png_, info_); }
  int bits() const { return png_get_bit_depth(png_, info_); }
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
  char text_[128] = "no memory for libpng";
};

[[noreturn]] void fail_damaged(std::string_view name, const PngReader& reader) {
  fail("{}: expected a whole PNG image, got: {}; it is damaged or truncated", name, reader.error());
}

// 16 bits of grey are cut off at 255, as in Pillow's mode I;16.
torch::Tensor read_wide_grey(PngReader& reader, std::string_view name) {
  std::vector<uint8_t> grey(static_cast<size_t>(reader.height() * reader.width() * 2));
  if (!reader.read_rows(PngRows::kBigEndianGrey, grey.data(), 2)) fail_damaged(name, reader);
  auto pixels_HWC = torch::empty({reader.height(), reader.width(), 3}, torch::kUInt8);
  auto* out = pixels_HWC.mutable_data_ptr<uint8_t>();
  for (size_t i = 0; i < grey.size(); i += 2) {
    const uint8_t value = grey[i] != 0 ? 255 : grey[i + 1];
    out = std::fill_n(out, 3, value);
  }
  return pixels_HWC;
}

}  // namespace

torch::Tensor decode_png(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels) {
  PngReader reader(bytes);
  if (!reader.read_header()) fail_damaged(name, reader);
  require_size(reader.height(), reader.width(), name, most_pixels);
  if (reader.color_type() == PNG_COLOR_TYPE_GRAY && reader.bits() == 16) return read_wide_grey(reader, name);
  auto pixels_HWC = torch::empty({reader.height(), reader.width(), 3}, torch::kUInt8);
  if (!reader.read_rows(PngRows::kRgb, pixels_HWC.mutable_data_ptr<uint8_t>(), 3)) fail_damaged(name, reader);
  return pixels_HWC;
}

torch::Tensor decode_png_indices(std::span<const uint8_t> bytes, std::string_view name) {
  PngReader reader(bytes);
  if (!reader.read_header()) fail_damaged(name, reader);
  require_size(reader.height(), reader.width(), name);
  const int type = reader.color_type();
  require((type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_PALETTE) && reader.bits() <= 8,
          "{}: expected grey values or palette indices of at most 8 bits, got {} of {} bits; convert it to indices",
          name,
          type == PNG_COLOR_TYPE_GRAY         ? "grey values"
          : type == PNG_COLOR_TYPE_GRAY_ALPHA ? "grey values and alpha"
                                              : "colours",
          reader.bits());
  auto indices_HW = torch::empty({reader.height(), reader.width()}, torch::kUInt8);
  if (!reader.read_rows(PngRows::kIndices, indices_HW.mutable_data_ptr<uint8_t>(), 1)) fail_damaged(name, reader);
  return indices_HW;
}

std::vector<uint8_t> encode_png_indices(const torch::Tensor& indices_HW, const std::array<Color, 256>& palette) {
  require_labels(indices_HW, "png");
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(indices_HW.size(1));
  image.height = static_cast<png_uint_32>(indices_HW.size(0));
  image.format = PNG_FORMAT_RGB_COLORMAP;
  image.colormap_entries = static_cast<png_uint_32>(palette.size());
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<uint8_t> bytes(size);
  require(png_image_write_to_memory(&image, bytes.data(), &size, 0, indices_HW.const_data_ptr<uint8_t>(), 0,
                                    palette.data()) != 0,
          "png: expected to encode [{}, {}], got: {}", image.height, image.width, image.message);
  bytes.resize(size);
  return bytes;
}

}  // namespace beit
