#include "data/shard_index.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFormat = "beit-shard-1";
constexpr const char* kRemedy = "the index is damaged: fetch or pack the shard again";

// An image takes more bytes in the archive than in the index; classes come on top.
int64_t most_bytes(int64_t archive_bytes) {
  constexpr int64_t kBesideImages = int64_t{64} << 20, kMost = int64_t{256} << 20;
  return std::min(archive_bytes, kMost - kBesideImages) + kBesideImages;
}

Json read_json(const fs::path& path, int64_t archive_bytes) {
  std::error_code gone;
  const auto bytes = static_cast<int64_t>(fs::file_size(path, gone));
  std::ifstream file(path, std::ios::binary);
  require(!gone && file.good(), "{}: expected an index that can be read, got \"{}\"; check its rights, or ulimit -n",
          path.string(), gone ? gone.message() : std::strerror(errno));
  require(bytes <= most_bytes(archive_bytes),
          "{}: expected at most {} bytes of index beside an archive of {}, got {}; pack into smaller shards",
          path.string(), most_bytes(archive_bytes), archive_bytes, bytes);
  std::string text(static_cast<size_t>(bytes), '\0');
  file.read(text.data(), bytes);
  // Lists within lists would take many times the file's size: they are not kept, and refused.
  bool nested = false;
  const auto keep = [&nested](int depth, Json::parse_event_t event, const Json&) {
    const bool is_inner =
        depth > 1 && (event == Json::parse_event_t::array_start || event == Json::parse_event_t::object_start);
    nested = nested || is_inner;
    return !is_inner;
  };
  auto json = Json::parse(text, keep, /*allow_exceptions=*/false);
  require(file.good() && json.is_object(), "{}: expected a JSON object, got other bytes; {}", path.string(), kRemedy);
  require(!nested, "{}: expected lists of numbers and texts, got lists or objects within; {}", path.string(), kRemedy);
  return json;
}

// Reads the fields of one index; errors name the field.
class Fields {
 public:
  Fields(const fs::path& path, int64_t archive_bytes) : where_(path.string()), json_(read_json(path, archive_bytes)) {}

  bool has(const char* key) const { return json_.contains(key); }

  int64_t number(const char* key, int64_t least, int64_t most) const { return number(at(key), key, least, most); }

  std::string text(const char* key) const {
    require(at(key).is_string(), "{}: {}: expected a text; {}", where_, key, kRemedy);
    return at(key).get<std::string>();
  }

  std::vector<int64_t> numbers(const char* key, int64_t least, int64_t most) const {
    std::vector<int64_t> values;
    for (const auto& item : list(key)) values.push_back(number(item, key, least, most));
    return values;
  }

  std::vector<std::string> texts(const char* key) const {
    std::vector<std::string> values;
    for (const auto& item : list(key)) {
      require(item.is_string() && !item.get_ref<const std::string&>().empty(), "{}: {}: expected texts; {}", where_,
              key, kRemedy);
      values.push_back(item.get<std::string>());
    }
    return values;
  }

  const std::string& where() const { return where_; }

 private:
  const Json& at(const char* key) const {
    const auto found = json_.find(key);
    require(found != json_.end(), "{}: expected {}, got none; {}", where_, key, kRemedy);
    return *found;
  }

  const Json& list(const char* key) const {
    require(at(key).is_array(), "{}: {}: expected a list; {}", where_, key, kRemedy);
    return at(key);
  }

  int64_t number(const Json& value, const char* key, int64_t least, int64_t most) const {
    const bool whole = value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
    const int64_t got = whole ? value.get<int64_t>() : 0;
    require(whole && got >= least && got <= most, "{}: {}: expected a whole number from {} to {}, got {:.40}; {}",
            where_, key, least, most, value.is_number() ? value.dump() : value.type_name(), kRemedy);
    return got;
  }

  std::string where_;
  Json json_;
};

}  // namespace

std::string shard_seal(int64_t bytes_before, uint32_t crc32_before) {
  std::string seal = fmt::format("beit shard: crc32 {:08x} of the {} bytes before\n", crc32_before, bytes_before);
  seal.resize(kSealBytes, '\0');
  return seal;
}

fs::path index_path(const fs::path& archive) {
  fs::path path = archive;
  path += ".index.json";
  return path;
}

bool is_index_text(const std::string& text) {
  try {
    Json(text).dump();
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

std::string to_json(const ShardIndex& index) {
  std::map<std::string, int64_t> numbers;
  if (index.classes) {
    for (const auto& name : *index.classes) numbers.emplace(name, std::ssize(numbers));
  }
  auto names = Json::array(), offsets = Json::array(), sizes = Json::array(), labels = Json::array(),
       checksums = Json::array();
  for (const auto& image : index.images) {
    names.push_back(image.name);
    offsets.push_back(image.offset);
    sizes.push_back(image.size);
    labels.push_back(image.label.is_name() ? numbers.at(image.label.name) : image.label.number);
    checksums.push_back(image.crc32.value());
  }
  nlohmann::ordered_json json{{"format", kFormat},
                              {"name", index.name},
                              {"shard", index.shard},
                              {"shards", index.shards},
                              {"archive_bytes", index.archive_bytes},
                              {"archive_crc32", index.archive_crc32}};
  if (index.classes) json["classes"] = *index.classes;
  json["images"] = std::move(names);
  json["offsets"] = std::move(offsets);
  json["sizes"] = std::move(sizes);
  json["labels"] = std::move(labels);
  json["crc32"] = std::move(checksums);
  return json.dump() + "\n";
}

ShardIndex read_shard_index(const fs::path& path, int64_t archive_bytes) {
  const Fields fields(path, archive_bytes);
  require(fields.text("format") == kFormat, "{}: expected format {}, got '{:.40}'; update beit or pack again",
          fields.where(), kFormat, fields.text("format"));
  ShardIndex index;
  index.name = fields.text("name");
  index.shards = fields.number("shards", 1, INT32_MAX);
  index.shard = fields.number("shard", 0, index.shards - 1);
  index.archive_bytes = fields.number("archive_bytes", kSealBytes, INT64_MAX);
  index.archive_crc32 = static_cast<uint32_t>(fields.number("archive_crc32", 0, UINT32_MAX));
  if (fields.has("classes")) {
    index.classes = fields.texts("classes");
    const bool ordered = std::ranges::adjacent_find(*index.classes, std::greater_equal()) == index.classes->end();
    require(ordered, "{}: classes: expected sorted names, each once; {}", fields.where(), kRemedy);
  }
  const auto names = fields.texts("images");
  const auto offsets = fields.numbers("offsets", 0, index.archive_bytes),
             sizes = fields.numbers("sizes", 0, index.archive_bytes),
             labels = fields.numbers("labels", -1, index.classes ? std::ssize(*index.classes) - 1 : kMostClasses - 1),
             checksums = fields.numbers("crc32", 0, UINT32_MAX);
  for (const auto* column : {&offsets, &sizes, &labels, &checksums}) {
    require(column->size() == names.size(), "{}: expected {} offsets, sizes, labels and crc32, got {}; {}",
            fields.where(), names.size(), column->size(), kRemedy);
  }
  for (size_t i = 0; i < names.size(); ++i) {
    require(sizes[i] <= index.archive_bytes - offsets[i],
            "{}: expected images within the archive's {} bytes, got {} "
            "at {}; {}",
            fields.where(), index.archive_bytes, sizes[i], offsets[i], kRemedy);
    Label label{.number = labels[i]};
    if (index.classes && labels[i] >= 0) label = {.name = (*index.classes)[static_cast<size_t>(labels[i])]};
    index.images.push_back({.name = names[i],
                            .label = std::move(label),
                            .offset = offsets[i],
                            .size = sizes[i],
                            .crc32 = static_cast<uint32_t>(checksums[i])});
  }
  return index;
}

void require_same_shard(const TarFile& archive, const ShardIndex& index) {
  constexpr const char* kTry = "fetch both again, or remove the index to read the archive without it";
  const std::string beside = index_path(archive.name()).string();
  require(archive.bytes() == index.archive_bytes, "{}: expected the archive of {} bytes that {} describes, got {}; {}",
          archive.name(), index.archive_bytes, beside, archive.bytes(), kTry);
  const int64_t before = index.archive_bytes - kSealBytes;
  const auto seal = archive.read(before, kSealBytes);
  require(std::string(seal.begin(), seal.end()) == shard_seal(before, index.archive_crc32),
          "{}: expected the archive that {} describes, got another closing block at {}; {}", archive.name(), beside,
          before, kTry);
}

}  // namespace beit
