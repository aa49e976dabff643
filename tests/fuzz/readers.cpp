#include "tests/fuzz/readers.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/bmp.h"
#include "data/gif.h"
#include "data/image.h"
#include "data/jpeg.h"
#include "data/list_file.h"
#include "data/orientation.h"
#include "data/png.h"
#include "data/shard.h"
#include "data/shard_index.h"
#include "data/tar.h"
#include "data/webp.h"
#include "io/pickle.h"
#include "io/pth.h"
#include "io/safetensors.h"
#include "io/zip.h"

namespace beit {
namespace {

bool accepts(const auto& read) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    const std::string_view message = error.what();
    if (message.empty() || message.find('\n') != message.npos) throw std::logic_error("an error is not one line");
    return false;
  }
}

/// A file without a name, for the readers that map one.
class MemoryFile {
 public:
  explicit MemoryFile(std::span<const uint8_t> bytes) : file_(memfd_create("beit-fuzz", MFD_CLOEXEC)) {
    if (file_ < 0 || write(file_, bytes.data(), bytes.size()) != std::ssize(bytes)) {
      throw std::runtime_error("expected a file in memory, got none");
    }
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { close(file_); }

  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

/// Reads every element.
void touch(const TensorFile& file, size_t bytes) {
  for (const auto& [name, tensor] : file.tensors) {
    if (tensor.nbytes() > bytes) throw std::logic_error("a tensor is larger than its file");
    const auto copy = tensor.clone(torch::MemoryFormat::Contiguous);
    if (copy.numel() != tensor.numel()) throw std::logic_error("a copy differs");
  }
  if (file.order.size() != file.tensors.size()) throw std::logic_error("the order misses a name");
}

bool read_pickle_bytes(std::span<const uint8_t> bytes) {
  return accepts([&] {
    Allowance allowance(bytes.size());
    const Pickle pickle = read_pickle(bytes, 0, "fuzz", allowance);
    size_t letters = 0;
    for (const PickleValue& value : pickle.values) {
      for (const PickleValue* item : value.items) letters += item->text.size();
      for (const char letter : value.text) letters += letter == '\0' ? 0 : 1;
    }
    if (letters == SIZE_MAX) throw std::logic_error("more letters than a file has");
  });
}

bool read_zip_bytes(std::span<const uint8_t> bytes) {
  return accepts([&] {
    Allowance allowance(bytes.size());
    const ZipDirectory directory(bytes, "fuzz", allowance);
    for (const ZipMember& member : directory.members()) {
      if (member.begin > bytes.size() || member.size > bytes.size() - member.begin) {
        throw std::logic_error("a member reaches out of its file");
      }
      if (member.stored && directory.find(member.name) != &member) throw std::logic_error("a member is not found");
    }
  });
}

bool read_pth_bytes(std::span<const uint8_t> bytes) {
  return accepts([&] { touch(read_pth(MemoryFile(bytes).path()), bytes.size()); });
}

bool read_safetensors_bytes(std::span<const uint8_t> bytes) {
  return accepts([&] { touch(read_safetensors(MemoryFile(bytes).path()), bytes.size()); });
}

using Decoder = torch::Tensor (*)(std::span<const uint8_t>, std::string_view, int64_t most_pixels);

/// Decodes, and turns the picture by what the bytes say.
template <Decoder decode>
bool read_image_bytes(std::span<const uint8_t> bytes) {
  const int orientation = exif_orientation(bytes);
  if (orientation < 1 || orientation > 8) throw std::logic_error("an orientation is none");
  return accepts([&] {
    const auto pixels_HWC = decode(bytes, "fuzz", kMostPixels);
    require_pixels(pixels_HWC, "fuzz");
    if (pixels_HWC.numel() > 1'000'000) return;  // turned below as well, only longer
    if (apply_orientation(pixels_HWC, orientation).numel() != pixels_HWC.numel()) {
      throw std::logic_error("a turned picture has another number of pixels");
    }
  });
}

/// In parts as well, also at smaller scales.
bool read_jpeg_bytes(std::span<const uint8_t> bytes) {
  accepts([&] {
    JpegFile file(bytes, "fuzz");
    const auto [height, width] = file.size();
    const Box part{height / 3, width / 4, std::max<int64_t>(1, height / 2), std::max<int64_t>(1, width / 2)};
    for (const int64_t side : {1, 4, 16, 1 << 20}) file.decode(part, {side, side});
  });
  return read_image_bytes<decode_image>(bytes);
}

bool read_png_bytes(std::span<const uint8_t> bytes) {
  accepts([&] { decode_png_indices(bytes, "fuzz"); });
  return read_image_bytes<decode_png>(bytes);
}

/// Every member, and every image as a dataset reads it.
bool read_tar_bytes(std::span<const uint8_t> bytes) {
  return accepts([&] {
    const MemoryFile file(bytes);
    const TarFile archive(file.path());
    const auto read = [&](int64_t offset, int64_t size) {
      if (std::ssize(archive.read(offset, size)) != size) throw std::logic_error("a member has another size");
    };
    for (const TarMember& member : archive.members()) read(member.offset, member.size);
    for (const ShardImage& image : list_shard(archive).images) read(image.offset, image.size);
  });
}

bool read_list_bytes(std::span<const uint8_t> bytes) {
  return accepts([&] {
    for (const auto& [path, label] : read_list_file(MemoryFile(bytes).path())) {
      if (path.empty() || path.size() > bytes.size()) throw std::logic_error("a path is none of the list's");
      if (label.is_number() && label.is_name()) throw std::logic_error("a class is both a number and a name");
    }
  });
}

/// And written and read again.
bool read_index_bytes(std::span<const uint8_t> bytes) {
  return accepts([&] {
    const ShardIndex index = read_shard_index(MemoryFile(bytes).path(), std::ssize(bytes));
    for (const ShardImage& image : index.images) {
      if (image.size > index.archive_bytes - image.offset)
        throw std::logic_error("an image reaches out of its archive");
    }
    const std::string text = to_json(index);
    const MemoryFile again({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    if (to_json(read_shard_index(again.path(), std::ssize(text))) != text) throw std::logic_error("a copy differs");
  });
}

}  // namespace

Reader reader_of(std::string_view format) {
  if (format == "pickle") return read_pickle_bytes;
  if (format == "zip") return read_zip_bytes;
  if (format == "pth") return read_pth_bytes;
  if (format == "safetensors") return read_safetensors_bytes;
  if (format == "jpeg") return read_jpeg_bytes;
  if (format == "png") return read_png_bytes;
  if (format == "webp") return read_image_bytes<decode_webp>;
  if (format == "gif") return read_image_bytes<decode_gif>;
  if (format == "bmp") return read_image_bytes<decode_bmp>;
  if (format == "tar") return read_tar_bytes;
  if (format == "list") return read_list_bytes;
  if (format == "index") return read_index_bytes;
  throw std::invalid_argument("no reader of " + std::string(format));
}

}  // namespace beit
