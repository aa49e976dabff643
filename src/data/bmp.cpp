#include "data/bmp.h"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

using Palette = std::array<Color, 256>;

constexpr size_t kFileHeader = 14, kCoreHeader = 12;
constexpr uint32_t kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3;

// Little-endian numbers at any offset; beyond the end is an Error.
class BmpBytes {
 public:
  BmpBytes(std::span<const uint8_t> bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  std::span<const uint8_t> at(size_t offset, size_t count) const {
    if (offset > bytes_.size() || count > bytes_.size() - offset) fail_damaged("an end too early");
    return bytes_.subspan(offset, count);
  }
  uint32_t u16(size_t offset) const {
    const auto b = at(offset, 2);
    return static_cast<uint32_t>(b[0] | b[1] << 8);
  }
  uint32_t u32(size_t offset) const { return u16(offset) | u16(offset + 2) << 16; }
  size_t size() const { return bytes_.size(); }
  std::string_view name() const { return name_; }

  [[noreturn]] void fail_damaged(std::string_view what) const {
    fail("{}: expected a whole BMP image, got {}; it is damaged or truncated", name_, what);
  }

 private:
  std::span<const uint8_t> bytes_;
  std::string_view name_;
};

struct Header {
  int64_t width = 0, height = 0;
  bool top_down = false;
  uint32_t bits = 0, compression = kRaw;
  std::array<uint32_t, 3> masks{};  // of red, green, blue
  size_t palette_at = 0, palette_count = 0, entry_bytes = 4;
  size_t pixels_at = 0;
};

Header read_header(const BmpBytes& bytes, int64_t most_pixels) {
  Header header;
  const size_t size = bytes.u32(kFileHeader), at = kFileHeader + 4;
  constexpr std::array<size_t, 7> kKnown{kCoreHeader, 40, 52, 56, 64, 108, 124};
  if (std::find(kKnown.begin(), kKnown.end(), size) == kKnown.end()) bytes.fail_damaged("a header of unknown length");
  header.palette_at = kFileHeader + size;
  if (size == kCoreHeader) {
    header.width = bytes.u16(at);
    header.height = bytes.u16(at + 2);
    header.bits = bytes.u16(at + 6);
    header.entry_bytes = 3;
  } else {
    const uint32_t height = bytes.u32(at + 4);
    header.top_down = (height >> 24) == 0xff;
    header.width = bytes.u32(at);
    header.height = header.top_down ? (int64_t{1} << 32) - height : int64_t{height};
    header.bits = bytes.u16(at + 10);
    header.compression = bytes.u32(at + 12);
    header.palette_count = bytes.u32(at + 28);
    if (header.compression == kBitFields) {
      for (size_t i = 0; i < 3; ++i) header.masks[i] = bytes.u32(at + 36 + i * 4);
      if (size == 40) header.palette_at += 12;
    }
  }
  require_size(header.height, header.width, bytes.name(), most_pixels);
  if (header.bits <= 8 && header.palette_count == 0) header.palette_count = size_t{1} << header.bits;
  header.pixels_at = bytes.u32(10);
  if (header.bits <= 8) {
    if (header.palette_count > 65536) bytes.fail_damaged("a palette of too many colours");
    const size_t palette_bytes = header.palette_count * header.entry_bytes;
    // Some writers forget the palette.
    if (header.pixels_at == kFileHeader + size) header.pixels_at += palette_bytes;
    if (header.pixels_at == 0) header.pixels_at = header.palette_at + palette_bytes;
  } else if (header.pixels_at == 0) {
    header.pixels_at = header.palette_at;
  }
  return header;
}

// A palette of the indices' own greys goes on beyond its end, as in Pillow.
Palette read_palette(const BmpBytes& bytes, const Header& header) {
  Palette palette{};
  const size_t there = bytes.size() - std::min(bytes.size(), header.palette_at);
  const size_t count = std::min({header.palette_count, palette.size(), there / header.entry_bytes});
  bool is_grey = count == header.palette_count;
  for (size_t i = 0; i < count; ++i) {
    const auto entry = bytes.at(header.palette_at + i * header.entry_bytes, 3);
    palette[i] = {entry[2], entry[1], entry[0]};
    is_grey = is_grey && palette[i] == Color{static_cast<uint8_t>(i), static_cast<uint8_t>(i), static_cast<uint8_t>(i)};
  }
  for (size_t i = count; is_grey && i < palette.size(); ++i) palette[i].fill(static_cast<uint8_t>(i));
  return palette;
}

// Run-length encoded indices in the file's order of rows.
std::vector<uint8_t> read_runs(const BmpBytes& bytes, const Header& header) {
  const bool halves = header.compression == kRle4;
  const auto width = static_cast<size_t>(header.width), most = width * static_cast<size_t>(header.height);
  std::vector<uint8_t> indices;
  const auto skip = [&](size_t count) { indices.resize(std::min(most, indices.size() + count)); };
  const auto half = [](uint8_t byte, size_t i) { return static_cast<uint8_t>(i % 2 == 0 ? byte >> 4 : byte & 15); };
  size_t x = 0, at = header.pixels_at;
  while (indices.size() < most) {
    const auto pair = bytes.at(at, 2);
    at += 2;
    const size_t count = pair[0], code = pair[1];
    if (count > 0) {
      const size_t kept = std::min(count, width - std::min(width, x));  // a run ends with its row
      for (size_t i = 0; i < kept; ++i) indices.push_back(halves ? half(pair[1], i) : pair[1]);
      x += kept;
    } else if (code == 0) {
      skip((width - indices.size() % width) % width);
      x = 0;
    } else if (code == 1) {
      bytes.fail_damaged("an end of the pixels too early");
    } else if (code == 2) {
      const auto move = bytes.at(at, 2);
      at += 2;
      skip(move[0] + move[1] * width);
      x = indices.size() % width;
    } else {
      const size_t run_bytes = halves ? (code + 1) / 2 : code;
      const auto run = bytes.at(at, run_bytes);
      for (size_t i = 0; i < code; ++i) indices.push_back(halves ? half(run[i / 2], i) : run[i]);
      x += code;
      at += run_bytes;
      at += (at - header.pixels_at) % 2;
    }
  }
  return indices;
}

// How a packed pixel of 16, 24 or 32 bits holds a colour: shift and largest value.
struct Channel {
  int shift;
  uint32_t largest;
};

std::array<Channel, 3> read_channels(const BmpBytes& bytes, const Header& header) {
  auto masks = header.masks;
  if (header.compression == kRaw || masks == std::array<uint32_t, 3>{}) {
    masks = header.bits == 16 ? std::array<uint32_t, 3>{0x7c00, 0x3e0, 0x1f}
                              : std::array<uint32_t, 3>{0xff0000, 0xff00, 0xff};
  }
  std::array<Channel, 3> channels{};
  for (size_t c = 0; c < 3; ++c) {
    const int shift = std::countr_zero(masks[c]);
    const uint32_t largest = shift < 32 ? masks[c] >> shift : 0;
    const bool is_known = header.bits == 16 ? largest == 31 || largest == 63 : largest == 255 && shift % 8 == 0;
    if (!is_known || shift + static_cast<int>(std::bit_width(largest)) > static_cast<int>(header.bits)) {
      fail(
          "{}: expected a BMP image with colours of 5-5-5, 5-6-5 or 8-8-8 bits, got the masks {:#x}, {:#x}, {:#x}; "
          "convert it",
          bytes.name(), masks[0], masks[1], masks[2]);
    }
    channels[c] = {shift, largest};
  }
  return channels;
}

}  // namespace

torch::Tensor decode_bmp(std::span<const uint8_t> file, std::string_view name, int64_t most_pixels) {
  const BmpBytes bytes(file, name);
  const Header header = read_header(bytes, most_pixels);
  const bool is_indexed = header.bits == 1 || header.bits == 4 || header.bits == 8;
  const bool is_packed = header.bits == 16 || header.bits == 24 || header.bits == 32;
  const bool has_runs = header.compression == kRle8 || header.compression == kRle4;
  require((is_indexed && (has_runs || header.compression == kRaw)) ||
              (is_packed && (header.compression == kRaw || header.compression == kBitFields)),
          "{}: expected a BMP image of 1, 4, 8, 16, 24 or 32 bits, run-length encoded at most, got {} bits and "
          "compression {}; convert it",
          name, header.bits, header.compression);

  const auto row_bytes = (static_cast<size_t>(header.width) * header.bits + 31) / 32 * 4;
  const auto file_row = [&](int64_t y) { return header.top_down ? y : header.height - 1 - y; };
  const auto runs = has_runs ? read_runs(bytes, header) : std::vector<uint8_t>{};
  if (!has_runs) {  // before memory is taken; the last row may lack its padding
    const auto used = (static_cast<size_t>(header.width) * header.bits + 7) / 8;
    bytes.at(header.pixels_at, row_bytes * static_cast<size_t>(header.height - 1) + used);
  }
  auto pixels_HWC = torch::empty({header.height, header.width, 3}, torch::kUInt8);
  auto* out = pixels_HWC.mutable_data_ptr<uint8_t>();
  if (is_indexed) {
    const Palette palette = read_palette(bytes, header);
    const uint32_t mask = (1U << header.bits) - 1;
    for (int64_t y = 0; y < header.height; ++y) {
      const auto row = static_cast<size_t>(file_row(y));
      for (size_t x = 0; x < static_cast<size_t>(header.width); ++x) {
        size_t index = 0;
        if (has_runs) {
          index = runs[row * static_cast<size_t>(header.width) + x];
        } else {
          const size_t bit = x * header.bits;
          index = file[header.pixels_at + row * row_bytes + bit / 8] >> (8 - header.bits - bit % 8) & mask;
        }
        out = std::copy(palette[index].begin(), palette[index].end(), out);
      }
    }
    return pixels_HWC;
  }
  const auto channels = read_channels(bytes, header);
  const size_t pixel_bytes = header.bits / 8;
  for (int64_t y = 0; y < header.height; ++y) {
    const uint8_t* in = file.data() + header.pixels_at + static_cast<size_t>(file_row(y)) * row_bytes;
    for (int64_t x = 0; x < header.width; ++x, in += pixel_bytes) {
      uint32_t pixel = 0;
      for (size_t i = 0; i < pixel_bytes; ++i) pixel |= uint32_t{in[i]} << (8 * i);
      for (const auto& [shift, largest] : channels) {
        *out++ = static_cast<uint8_t>((pixel >> shift & largest) * 255 / largest);
      }
    }
  }
  return pixels_HWC;
}

}  // namespace beit
