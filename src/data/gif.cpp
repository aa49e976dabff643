#include "data/gif.h"

#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

using Palette = std::array<Color, 256>;

class GifReader {
 public:
  GifReader(std::span<const uint8_t> bytes, std::string_view name) : rest_(bytes), name_(name) {
    int code = 0;
    gif_ = DGifOpen(this, take, &code);
    if (gif_ == nullptr) fail_damaged(GifErrorString(code));
  }
  ~GifReader() { DGifCloseFile(gif_, nullptr); }
  GifReader(const GifReader&) = delete;
  GifReader& operator=(const GifReader&) = delete;

  // Up to the pixels of the first frame.
  void find_frame() {
    GifRecordType type = UNDEFINED_RECORD_TYPE;
    while (true) {
      check(DGifGetRecordType(gif_, &type));
      if (type == IMAGE_DESC_RECORD_TYPE) break;
      if (type == TERMINATE_RECORD_TYPE) fail_damaged("no frame");
      read_extension();
    }
    check(DGifGetImageDesc(gif_));
  }

  void read_row(std::vector<uint8_t>& row) { check(DGifGetLine(gif_, row.data(), static_cast<int>(row.size()))); }

  const GifFileType& gif() const { return *gif_; }
  std::optional<uint8_t> transparent() const { return transparent_; }

 private:
  static int take(GifFileType* gif, GifByteType* out, int count) {
    auto* reader = static_cast<GifReader*>(gif->UserData);
    const size_t taken = std::min(static_cast<size_t>(std::max(count, 0)), reader->rest_.size());
    std::copy_n(reader->rest_.begin(), taken, out);
    reader->rest_ = reader->rest_.subspan(taken);
    return static_cast<int>(taken);
  }

  void read_extension() {
    int code = 0;
    GifByteType* block = nullptr;  // its length, then as many bytes
    check(DGifGetExtension(gif_, &code, &block));
    if (code == GRAPHICS_EXT_FUNC_CODE && block != nullptr && block[0] >= 4 && (block[1] & 1) != 0) {
      transparent_ = block[4];
    }
    while (block != nullptr) check(DGifGetExtensionNext(gif_, &block));
  }

  void check(int result) const {
    if (result == GIF_ERROR) fail_damaged(GifErrorString(gif_->Error));
  }

  [[noreturn]] void fail_damaged(const char* what) const {
    fail("{}: expected a whole GIF image, got: {}; it is damaged or truncated", name_,
         what == nullptr ? "no image data" : what);
  }

  std::span<const uint8_t> rest_;
  std::string_view name_;
  GifFileType* gif_ = nullptr;
  std::optional<uint8_t> transparent_;
};

// A palette of the indices' own greys goes on beyond its end.
Palette make_palette(const ColorMapObject* map) {
  Palette grey{}, palette{};
  for (size_t i = 0; i < grey.size(); ++i) grey[i].fill(static_cast<uint8_t>(i));
  if (map == nullptr) return grey;
  const auto count = static_cast<size_t>(std::clamp(map->ColorCount, 0, 256));
  for (size_t i = 0; i < count; ++i) palette[i] = {map->Colors[i].Red, map->Colors[i].Green, map->Colors[i].Blue};
  return std::equal(palette.begin(), palette.begin() + static_cast<std::ptrdiff_t>(count), grey.begin()) ? grey
                                                                                                         : palette;
}

// The rows' order in the file.
std::vector<int64_t> row_order(int64_t height, bool interlaced) {
  std::vector<int64_t> order;
  const auto add = [&](int64_t first, int64_t step) {
    for (int64_t y = first; y < height; y += step) order.push_back(y);
  };
  if (!interlaced) {
    add(0, 1);
  } else {
    add(0, 8), add(4, 8), add(2, 4), add(1, 2);
  }
  return order;
}

}  // namespace

torch::Tensor decode_gif(std::span<const uint8_t> bytes, std::string_view name, int64_t most_pixels) {
  GifReader reader(bytes, name);
  reader.find_frame();
  const GifImageDesc& frame = reader.gif().Image;
  const int64_t height = std::max<int64_t>(reader.gif().SHeight, int64_t{frame.Top} + frame.Height);
  const int64_t width = std::max<int64_t>(reader.gif().SWidth, int64_t{frame.Left} + frame.Width);
  require_size(height, width, name, most_pixels);
  require_size(frame.Height, frame.Width, name, most_pixels);
  const Palette palette = make_palette(frame.ColorMap != nullptr ? frame.ColorMap : reader.gif().SColorMap);

  auto pixels_HWC = torch::empty({height, width, 3}, torch::kUInt8);
  auto* pixels = pixels_HWC.mutable_data_ptr<uint8_t>();
  if (frame.Height < height || frame.Width < width) {
    const Color& bare = palette[reader.transparent().value_or(0)];
    for (int64_t i = 0; i < height * width; ++i) std::copy(bare.begin(), bare.end(), pixels + i * 3);
  }
  std::vector<uint8_t> row(static_cast<size_t>(frame.Width));
  for (const int64_t y : row_order(frame.Height, frame.Interlace)) {
    reader.read_row(row);
    uint8_t* out = pixels + ((frame.Top + y) * width + frame.Left) * 3;
    for (const uint8_t index : row) out = std::copy(palette[index].begin(), palette[index].end(), out);
  }
  return pixels_HWC;
}

}  // namespace beit
