#include "io/pth.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>

#include "base/error.h"
#include "io/mapped_tensor.h"
#include "io/pickle.h"
#include "io/pickled_tensors.h"
#include "io/zip.h"

namespace beit {
namespace {

using Value = PickleValue;
using Kind = PickleValue::Kind;

constexpr std::string_view kZip = "PK";
constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";  // 0x1950A86A20F9469CFC6C
constexpr int64_t kProtocol = 1001;
constexpr std::string_view kPickle = "data.pkl", kStorages = "data/", kByteOrder = "byteorder",
                           kTorchScript = "constants.pkl";
constexpr std::string_view kRemedy = "the file is damaged: fetch or save it again";

/// The file, and what reading it may cost.
struct Source {
  explicit Source(const std::filesystem::path& path)
      : file(MappedFile::open(path)), bytes(file->bytes()), name(file->name()), allowance(bytes.size()) {}

  /// A storage whose bytes begin at `offset` and lie in the file.
  torch::Tensor storage(const StorageId& id, uint64_t offset) {
    const uint64_t size = static_cast<uint64_t>(id.elements) * torch::elementSize(id.type);
    require(!copies_mapped(*file, offset, id.type) || allowance.take(size),
            "{}: storage {}: expected data that fits the file's size and 56 MiB, got {} bytes at offset {}; {}", name,
            printable(id.key), size, offset, kRemedy);
    return mapped_tensor(file, offset, {id.elements}, id.type);
  }

  const std::shared_ptr<const MappedFile> file;
  const std::span<const uint8_t> bytes;
  const std::string& name;
  Allowance allowance;
};

/// Whether so many bytes hold the storage.
bool fits(const StorageId& id, uint64_t bytes) {
  return static_cast<uint64_t>(id.elements) <= bytes / torch::elementSize(id.type);
}

// The zip form: members <name>/data.pkl and <name>/data/<key>.

TensorFile read_zip_form(Source& source) {
  const ZipDirectory directory(source.bytes, source.name, source.allowance);
  const ZipMember* root = nullptr;
  for (const ZipMember& member : directory.members()) {
    const size_t folder = member.name.find('/') + 1;  // 0 where there is none
    if (member.name.substr(folder) != kPickle) continue;
    if (root != nullptr) {
      fail("{}: archive: expected one {}, got {} and {} at offset {}; {}", source.name, kPickle, printable(root->name),
           printable(member.name), member.header, kRemedy);
    }
    root = directory.find(member.name);
  }
  require(root != nullptr, "{}: archive: expected a member {}, got none of {}; name a file that torch.save() wrote",
          source.name, kPickle, directory.members().size());
  const std::string folder(root->name.substr(0, root->name.size() - kPickle.size()));
  const auto member = [&](std::string_view name) { return directory.find(folder + std::string(name)); };
  if (const ZipMember* const order = member(kByteOrder)) {
    const std::string_view text(reinterpret_cast<const char*>(source.bytes.data()) + order->begin, order->size);
    require(text == "little", "{}: {}: expected little, got {} at offset {}; save it on another machine", source.name,
            printable(order->name), printable(text), order->begin);
  }

  const std::string where = source.name + ": " + printable(root->name);
  const Pickle object = read_pickle(source.bytes.first(root->begin + root->size), static_cast<int64_t>(root->begin),
                                    where, source.allowance);
  const auto read_storage = [&](const StorageId& id) {
    const ZipMember* const data = member(std::string(kStorages).append(id.key));
    require(data != nullptr, "{}: storage {}: expected it in the archive, got none (offset {}); {}", source.name,
            printable(id.key), id.offset, kRemedy);
    require(fits(id, data->size), "{}: {}: expected {} elements of {} bytes at offset {}, got {} bytes; {}",
            source.name, printable(data->name), id.elements, torch::elementSize(id.type), data->begin, data->size,
            kRemedy);
    return source.storage(id, data->begin);
  };
  const bool is_torch_script = member(kTorchScript) != nullptr;
  return pickled_tensors(*object.root, is_torch_script ? Attributes::kModules : Attributes::kNamespaces, read_storage,
                         where, source.allowance);
}

// The legacy form: pickles of a magic number, a protocol, facts, the object, the storages' keys; then the storages,
// each its number of elements and their bytes.

class LegacyReader {
 public:
  explicit LegacyReader(Source& source) : source_(source) {}

  TensorFile read() {
    read_prologue();
    const Pickle object = next_pickle();
    for (const Value& value : object.values) {
      if (value.kind == Kind::kPersistent && is_storage(value)) declare(storage_id(value, source_.name));
    }
    const Pickle keys = next_pickle();
    for (const Value* key : expect(keys.root, Kind::kList, "a list of storage keys")->items) locate(*key);
    const auto read_storage = [this](const StorageId& id) {
      const auto& found = storages_.at(id.key);
      require(found.begin > 0, "{}: storage {}: expected it in the file, got none (offset {}); {}", source_.name,
              printable(id.key), id.offset, kRemedy);
      return source_.storage(id, found.begin);
    };
    return pickled_tensors(*object.root, Attributes::kNamespaces, read_storage, source_.name, source_.allowance);
  }

 private:
  struct Place {
    StorageId id;
    uint64_t begin = 0;  ///< of the elements in the file; 0: not found yet
  };

  Pickle next_pickle() {
    Pickle pickle = read_pickle(source_.bytes, at_, source_.name, source_.allowance);
    at_ = pickle.end;
    return pickle;
  }

  const Value* expect(const Value* value, Kind kind, std::string_view what) const {
    require(value->kind == kind, "{}: expected {}, got another value at offset {}; {}", source_.name, what,
            value->offset, kRemedy);
    return value;
  }

  void read_prologue() {
    const Pickle magic = next_pickle();
    require(magic.root->kind == Kind::kBigInteger && magic.root->text == kMagic,
            "{}: expected PyTorch's magic number at offset 0, got another value; {}", source_.name, kRemedy);
    const Pickle protocol = next_pickle();
    require(protocol.root->kind == Kind::kInteger && protocol.root->integer == kProtocol,
            "{}: expected protocol {} at offset {}, got another; {}", source_.name, kProtocol, protocol.root->offset,
            kRemedy);
    const Pickle system = next_pickle();
    const auto& facts = expect(system.root, Kind::kDict, "the facts of the saving system")->items;
    for (size_t i = 0; i < facts.size(); i += 2) {
      require(facts[i]->text != "little_endian" || facts[i + 1]->integer == 1,
              "{}: expected a little-endian file, got a big-endian one; save it on another machine", source_.name);
    }
  }

  void declare(const StorageId& id) {
    require(storages_.contains(id.key) || source_.allowance.take(2 * sizeof(Place) + 64),
            "{}: storage {}: expected fewer storages, got more at offset {}; {}", source_.name, printable(id.key),
            id.offset, kRemedy);
    const StorageId& first = storages_.try_emplace(id.key, Place{id}).first->second.id;
    require(first.type == id.type && first.elements == id.elements,
            "{}: storage {}: expected one type and size, got two at offset {}; {}", source_.name, printable(id.key),
            id.offset, kRemedy);
  }

  /// The next storage of the file.
  void locate(const Value& key) {
    const auto found = storages_.find(key.text);
    require(found != storages_.end() && found->second.begin == 0,
            "{}: storage {}: expected one that a tensor uses, listed once, got another at offset {}; {}", source_.name,
            printable(key.text), key.offset, kRemedy);
    const StorageId& id = found->second.id;
    const uint64_t item = torch::elementSize(id.type);
    int64_t stated = -1;
    const int64_t left = static_cast<int64_t>(source_.bytes.size()) - at_ - static_cast<int64_t>(sizeof stated);
    if (left >= 0) std::memcpy(&stated, source_.bytes.data() + at_, sizeof stated);
    require(stated == id.elements && fits(id, static_cast<uint64_t>(left)),
            "{}: storage {}: expected {} elements of {} bytes at offset {}, got {} and {} bytes left; {}", source_.name,
            printable(key.text), id.elements, item, at_, stated, std::max<int64_t>(left, 0), kRemedy);
    at_ += static_cast<int64_t>(sizeof stated);
    found->second.begin = static_cast<uint64_t>(at_);
    at_ += stated * static_cast<int64_t>(item);
  }

  Source& source_;
  int64_t at_ = 0;
  std::map<std::string_view, Place> storages_;  // keys point into the file
};

}  // namespace

TensorFile read_pth(const std::filesystem::path& path) {
  Source source(path);
  const bool is_zip = source.bytes.size() > kZip.size() && std::ranges::equal(source.bytes.first(kZip.size()), kZip);
  return is_zip ? read_zip_form(source) : LegacyReader(source).read();
}

}  // namespace beit
