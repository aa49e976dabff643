#include "tests/fuzz/readers.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "base/error.h"
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

}  // namespace

Reader reader_of(std::string_view format) {
  if (format == "pickle") return read_pickle_bytes;
  if (format == "zip") return read_zip_bytes;
  if (format == "pth") return read_pth_bytes;
  if (format == "safetensors") return read_safetensors_bytes;
  throw std::invalid_argument("no reader of " + std::string(format));
}

}  // namespace beit
