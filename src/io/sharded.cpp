#include "io/sharded.h"

#include <set>
#include <string>

#include "base/error.h"
#include "io/bounded_json.h"
#include "io/mapped_file.h"

namespace beit {
namespace {

constexpr std::string_view kRemedy = "the index is damaged: fetch it again, with the files that it names";
constexpr int kLevels = 8;  // metadata may hold anything
constexpr uint64_t kEntryBytes = 256;

/// Tensor names and their files' names.
std::map<std::string, std::string> read_weight_map(const std::filesystem::path& index) {
  const auto file = MappedFile::open(index);
  Allowance allowance(file->bytes().size());
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  const auto json = read_json_object(text, 0, kLevels, file->name(), kRemedy, allowance);
  const auto stated = json.find("weight_map");
  require(stated != json.end() && stated->is_object() && !stated->empty(),
          "{}: expected a weight_map of tensor names to files, got none; {}", file->name(), kRemedy);
  std::map<std::string, std::string> weight_map;
  for (const auto& [name, value] : stated->items()) {
    const std::string shard = value.is_string() ? value.get<std::string>() : "";
    require(!shard.empty() && shard.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos &&
                shard.find("..") == std::string::npos && shard != ".",
            "{}: {}: expected the name of a file beside the index, got {}; {}", file->name(), printable(name),
            printable(value.is_string() ? shard : value.type_name()), kRemedy);
    require(allowance.take(kEntryBytes + name.size() + shard.size()),
            "{}: {}: expected names that fit the file's size and 56 MiB, got more; {}", file->name(), printable(name),
            kRemedy);
    weight_map.emplace(name, shard);
  }
  return weight_map;
}

}  // namespace

TensorFile read_sharded(const std::filesystem::path& index,
                        const std::function<TensorFile(const std::filesystem::path&)>& read) {
  const auto weight_map = read_weight_map(index);
  std::set<std::string> shards;
  for (const auto& [name, shard] : weight_map) shards.insert(shard);
  TensorFile result;
  std::map<std::string_view, std::string_view> holders;
  for (const std::string& shard : shards) {
    TensorFile part = read(index.parent_path() / shard);
    for (const auto& name : part.order) {
      const auto [at, is_new] = result.tensors.emplace(name, part.tensors.at(name));
      require(is_new, "{}: {}: expected it in one file, got it in {} and in one before; {}", index.string(),
              printable(name), printable(shard), kRemedy);
      holders.emplace(at->first, shard);
    }
    result.order.insert(result.order.end(), part.order.begin(), part.order.end());
    result.metadata.merge(part.metadata);
  }
  for (const auto& [name, shard] : weight_map) {
    const auto found = holders.find(name);
    require(found != holders.end() && found->second == shard, "{}: {}: expected it in {}, got none there; {}",
            index.string(), printable(name), printable(shard), kRemedy);
  }
  return result;
}

}  // namespace beit
