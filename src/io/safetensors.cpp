#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/bounded_json.h"
#include "io/mapped_tensor.h"

namespace beit {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kHeaderLimit = 100'000'000;  // the format's own
constexpr size_t kDimensionLimit = 64;
constexpr int kLevels = 3;
constexpr uint64_t kTensorBytes = 2048;  // what one costs here at most, beside its data and its name
constexpr std::string_view kMetadata = "__metadata__";
constexpr std::string_view kRemedy = "the file is damaged: fetch or write it again";

struct Dtype {
  std::string_view name;
  torch::ScalarType type;
};

constexpr auto kDtypes = std::to_array<Dtype>({{"BOOL", torch::kBool},
                                               {"U8", torch::kUInt8},
                                               {"I8", torch::kInt8},
                                               {"U16", torch::kUInt16},
                                               {"I16", torch::kInt16},
                                               {"U32", torch::kUInt32},
                                               {"I32", torch::kInt32},
                                               {"U64", torch::kUInt64},
                                               {"I64", torch::kInt64},
                                               {"F8_E4M3", torch::kFloat8_e4m3fn},
                                               {"F8_E5M2", torch::kFloat8_e5m2},
                                               {"F8_E8M0", torch::kFloat8_e8m0fnu},
                                               {"F16", torch::kFloat16},
                                               {"BF16", torch::kBFloat16},
                                               {"F32", torch::kFloat32},
                                               {"F64", torch::kFloat64},
                                               {"C64", torch::kComplexFloat}});

/// One tensor as the header states it; offsets count from the end of the header.
struct Entry {
  std::string name;
  torch::ScalarType type;
  std::vector<int64_t> shape;
  uint64_t begin, end;
};

std::map<std::string, std::string> read_metadata(const Json& header, const std::string& file) {
  std::map<std::string, std::string> metadata;
  const auto found = header.find(kMetadata);
  if (found == header.end()) return metadata;
  require(found->is_object(), "{}: {}: expected an object of strings, got a JSON {}; {}", file, kMetadata,
          found->type_name(), kRemedy);
  for (const auto& [key, value] : found->items()) {
    require(value.is_string(), "{}: {}: expected a string as {}, got a JSON {}; {}", file, kMetadata, printable(key),
            value.type_name(), kRemedy);
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

Entry read_entry(const std::string& name, const Json& stated, const std::string& where) {
  const auto whole_numbers = [](const Json& array) {
    return array.is_array() && std::ranges::all_of(array, [](const Json& item) {
             return item.is_number_unsigned() && item.get<uint64_t>() <= std::numeric_limits<int64_t>::max();
           });
  };
  require(stated.is_object() && stated.contains("dtype") && stated["dtype"].is_string(),
          "{}: expected a dtype, got none; {}", where, kRemedy);
  require(stated.contains("shape") && whole_numbers(stated["shape"]),
          "{}: expected a shape of whole numbers, got another; {}", where, kRemedy);
  require(stated["shape"].size() <= kDimensionLimit, "{}: expected at most {} dimensions, got {}; {}", where,
          kDimensionLimit, stated["shape"].size(), kRemedy);
  require(
      stated.contains("data_offsets") && whole_numbers(stated["data_offsets"]) && stated["data_offsets"].size() == 2,
      "{}: expected data_offsets of two whole numbers, got others; {}", where, kRemedy);

  const auto dtype = std::ranges::find(kDtypes, stated["dtype"].get_ref<const std::string&>(), &Dtype::name);
  require(dtype != kDtypes.end(), "{}: expected a dtype that LibTorch has, got {}; convert the tensor", where,
          printable(stated["dtype"].get_ref<const std::string&>()));
  return {name, dtype->type, stated["shape"].get<std::vector<int64_t>>(), stated["data_offsets"][0].get<uint64_t>(),
          stated["data_offsets"][1].get<uint64_t>()};
}

/// Throws unless the shape needs exactly the bytes between the offsets.
void check_size(const Entry& entry, const std::string& where, uint64_t data_begin) {
  auto bytes = static_cast<int64_t>(torch::elementSize(entry.type));
  bool fits = true;
  bool empty = false;
  for (const int64_t size : entry.shape) {  // an empty tensor's strides must not overflow either
    empty |= size == 0;
    fits = fits && !__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes);
  }
  if (empty) bytes = 0;
  require(fits && static_cast<uint64_t>(bytes) == entry.end - entry.begin,
          "{}: expected as many bytes as shape and dtype say, got {} at offset {}; {}", where, entry.end - entry.begin,
          data_begin + entry.begin, kRemedy);
}

std::string_view dtype_name(const std::string& name, const torch::Tensor& tensor, const std::string& file) {
  require(tensor.defined() && tensor.layout() == torch::kStrided && name != kMetadata,
          "{}: {}: expected a dense tensor, got another value; leave it out", file, printable(name));
  const auto dtype = std::ranges::find(kDtypes, tensor.scalar_type(), &Dtype::type);
  require(dtype != kDtypes.end(), "{}: {}: expected a dtype of the format, got {}; convert the tensor", file,
          printable(name), torch::toString(tensor.scalar_type()));
  return dtype->name;
}

/// The format's beginning, and the tensors in the order in which they follow it.
struct Layout {
  std::string header;  // with its length
  std::vector<const TensorMap::value_type*> order;
  uint64_t data_bytes = 0;
};

Layout lay_out(const TensorMap& tensors, const std::map<std::string, std::string>& metadata, const std::string& where) {
  Layout layout;
  Json header = Json::object();
  if (!metadata.empty()) header[std::string(kMetadata)] = metadata;
  for (const auto& member : tensors) {
    header[member.first]["dtype"] = dtype_name(member.first, member.second, where);
    header[member.first]["shape"] = member.second.sizes().vec();
    layout.order.push_back(&member);
  }
  // The widest elements first: every tensor is aligned and can be used where it lies.
  std::ranges::stable_sort(layout.order, std::greater(),
                           [](const auto* member) { return member->second.element_size(); });
  for (const auto* member : layout.order) {
    const uint64_t begin = layout.data_bytes;
    layout.data_bytes += static_cast<uint64_t>(member->second.numel() * member->second.element_size());
    header[member->first]["data_offsets"] = {begin, layout.data_bytes};
  }

  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception&) {
    fail("{}: expected names and metadata in UTF-8, got other bytes; rename the tensors", where);
  }
  text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
  const uint64_t header_bytes = text.size();
  require(header_bytes <= kHeaderLimit, "{}: expected a header of at most {} bytes, got {}; shorten the metadata",
          where, kHeaderLimit, header_bytes);
  layout.header.assign(reinterpret_cast<const char*>(&header_bytes), kLengthBytes);
  layout.header += text;
  return layout;
}

void put(const Layout& layout, const Sink& sink) {
  sink(layout.header);
  for (const auto* member : layout.order) {
    const auto dense = member->second.detach().to(torch::kCPU).resolve_conj().resolve_neg().contiguous();
    if (dense.numel() > 0) sink({static_cast<const char*>(dense.const_data_ptr()), dense.nbytes()});
  }
}

}  // namespace

TensorFile read_safetensors(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::span<const uint8_t> bytes = file->bytes();
  require(bytes.size() >= kLengthBytes, "{}: expected a safetensors header at offset 0, got {} bytes; {}", file->name(),
          bytes.size(), kRemedy);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  require(header_bytes <= std::min<uint64_t>(bytes.size() - kLengthBytes, kHeaderLimit),
          "{}: expected a header within the file's {} bytes, got a length of {} at offset 0; {}", file->name(),
          bytes.size(), header_bytes, kRemedy);
  const uint64_t data_begin = kLengthBytes + header_bytes, data_bytes = bytes.size() - data_begin;

  Allowance allowance(bytes.size());
  const auto take = [&](uint64_t taken, const std::string& name) {
    require(allowance.take(taken), "{}: {}: expected tensors that fit the file's size and 56 MiB, got more; {}",
            file->name(), printable(name), kRemedy);
  };
  const Json header = read_json_object({reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_bytes},
                                       kLengthBytes, kLevels, file->name() + ": header", kRemedy, allowance);
  std::vector<Entry> entries;
  for (const auto& [name, stated] : header.items()) {
    if (name == kMetadata) continue;
    take(kTensorBytes + 3 * name.size(), name);
    entries.push_back(read_entry(name, stated, file->name() + ": " + printable(name)));
  }
  std::ranges::sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });

  TensorFile result{.metadata = read_metadata(header, file->name())};
  uint64_t next = 0;
  for (const Entry& entry : entries) {
    const std::string where = file->name() + ": " + printable(entry.name);
    require(entry.begin == next && entry.end >= entry.begin && entry.end <= data_bytes,
            "{}: expected data from offset {} on, at most to {}, got {} to {}; {}", where, data_begin + next,
            bytes.size(), data_begin + entry.begin, data_begin + entry.end, kRemedy);
    check_size(entry, where, data_begin);
    if (copies_mapped(*file, data_begin + entry.begin, entry.type)) take(entry.end - entry.begin, entry.name);
    result.tensors.emplace(entry.name, mapped_tensor(file, data_begin + entry.begin, entry.shape, entry.type));
    result.order.push_back(entry.name);
    next = entry.end;
  }
  require(next == data_bytes, "{}: expected the tensors to fill the file, got {} bytes too many at offset {}; {}",
          file->name(), data_bytes - next, data_begin + next, kRemedy);
  return result;
}

void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const Layout layout = lay_out(tensors, metadata, path.string());
  write_file_atomically(path, [&](const Sink& sink) { put(layout, sink); });
}

std::string safetensors_bytes(const TensorMap& tensors, const std::map<std::string, std::string>& metadata) {
  const Layout layout = lay_out(tensors, metadata, "safetensors");
  std::string bytes;
  bytes.reserve(layout.header.size() + layout.data_bytes);
  put(layout, [&](std::string_view part) { bytes += part; });
  return bytes;
}

}  // namespace beit
