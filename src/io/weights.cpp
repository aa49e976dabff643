#include "io/weights.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "io/mapped_file.h"
#include "io/pth.h"
#include "io/sharded.h"

namespace beit {
namespace {

constexpr std::string_view kDerived = "relative_position_index";
constexpr std::string_view kIndexEnding = ".index.json";
constexpr auto kNamesInFolder = std::to_array<std::string_view>(
    {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"});
constexpr const char* kConfig = "config.json";
constexpr uintmax_t kConfigBytes = uintmax_t{1} << 20;
constexpr int64_t kPartBytes = 16 << 10;  // of a tensor that are checked and copied at once
constexpr size_t kNamed = 3;              // names of each kind in an error

std::string shape(const torch::Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes().begin(), tensor.sizes().end(), ", "));
}

/// Whether values of one may stand for those of the other.
bool same_kind(const torch::Tensor& a, const torch::Tensor& b) {
  return a.is_floating_point() == b.is_floating_point() && a.is_complex() == b.is_complex();
}

/// Whether an element's exponent is all ones: an infinity or NaN.
template <class Bits, Bits kExponent>
bool any_non_finite(const char* bytes, int64_t count) {
  Bits found = 0, element;  // of the elements' width, so that several are compared at once
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(&element, bytes + i * static_cast<int64_t>(sizeof element), sizeof element);
    found = found | static_cast<Bits>((element & kExponent) == kExponent);
  }
  return found != 0;
}

/// The check of so many contiguous elements; null for types that have no such bits or are too rare.
using Check = bool (*)(const char*, int64_t);
Check check_of(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat64: return any_non_finite<uint64_t, 0x7ff0'0000'0000'0000>;
    case torch::kFloat32: return any_non_finite<uint32_t, 0x7f80'0000>;
    case torch::kBFloat16: return any_non_finite<uint16_t, 0x7f80>;
    case torch::kFloat16: return any_non_finite<uint16_t, 0x7c00>;
    default: return nullptr;
  }
}

bool has_non_finite(const torch::Tensor& tensor) {
  if (!tensor.is_floating_point() && !tensor.is_complex()) return false;
  const bool narrow = tensor.element_size() == 1;  // 8 bits know few operations
  return !(narrow ? tensor.to(torch::kFloat32) : tensor).isfinite().all().item<bool>();
}

/// Copies, and tells whether a value is not finite. The usual case goes by parts, which the copy finds in the
/// processor's cache after the check: a file's weights pass through memory once.
bool copy_and_check(const torch::Tensor& source, const torch::Tensor& target) {
  const Check check = check_of(source.scalar_type());
  if (check == nullptr || source.scalar_type() != target.scalar_type() || !source.is_cpu() || !target.is_cpu() ||
      !source.is_contiguous() || !target.is_contiguous()) {
    torch::Tensor(target).copy_(source);
    return has_non_finite(source);
  }
  const auto* const from = static_cast<const char*>(source.const_data_ptr());
  auto* const to = static_cast<char*>(target.mutable_data_ptr());
  const int64_t item = source.element_size(), part = kPartBytes / item;
  std::atomic<bool> found = false;
  parallel_for(0, source.numel(), /*grain_size=*/8 * part, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += part) {
      const int64_t count = std::min(part, end - at);
      if (check(from + at * item, count)) found = true;
      std::memcpy(to + at * item, from + at * item, static_cast<size_t>(count * item));
    }
  });
  return found;
}

/// What becomes of the map's tensors: `fitting` are those to copy, by name.
struct Comparison {
  LoadReport report;
  std::vector<std::string_view> fitting;
};

Comparison compare(const TensorMap& own, const TensorMap& tensors) {
  Comparison result;
  LoadReport& report = result.report;
  for (const auto& [name, tensor] : own) {
    const auto found = tensors.find(name);
    if (name.ends_with(kDerived)) continue;
    if (found == tensors.end()) {
      report.missing.push_back(name);
    } else if (found->second.sizes() != tensor.sizes()) {
      report.wrong_shape.push_back(fmt::format("{}: expected {}, got {}", name, shape(tensor), shape(found->second)));
    } else if (!same_kind(found->second, tensor)) {
      report.wrong_dtype.push_back(fmt::format("{}: expected {}, got {}", name, torch::toString(tensor.scalar_type()),
                                               torch::toString(found->second.scalar_type())));
    } else {
      result.fitting.push_back(name);
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (!own.contains(name) && !name.ends_with(kDerived)) report.unexpected.push_back(name);
  }
  return result;
}

/// Copies what fits, and reports what is not finite of it.
LoadReport copy_fitting(const TensorMap& own, const TensorMap& tensors, Comparison comparison) {
  const torch::NoGradGuard no_grad;
  for (const std::string_view view : comparison.fitting) {
    const std::string name(view);
    if (copy_and_check(tensors.at(name), own.at(name))) comparison.report.non_finite.push_back(name);
  }
  return std::move(comparison.report);
}

/// "2 missing (a, b)", or nothing.
void list(std::vector<std::string>& parts, const std::vector<std::string>& names, std::string_view kind) {
  if (names.empty()) return;
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + static_cast<ptrdiff_t>(std::min(names.size(), kNamed)));
  parts.push_back(
      fmt::format("{} {} ({}{})", names.size(), kind, fmt::join(first, ", "), names.size() > kNamed ? ", ..." : ""));
}

/// The form is told by the first bytes.
TensorFile read_file(const std::filesystem::path& file) {
  std::array<uint8_t, 9> start{};
  {
    const auto mapped = MappedFile::open(file);
    std::ranges::copy(mapped->bytes().first(std::min(start.size(), mapped->bytes().size())), start.begin());
  }
  // The brace first: the length of a safetensors header, which stands before it, may look like a pickle's first byte.
  if (start[8] == '{') return read_safetensors(file);
  const bool is_pickle = start[0] == 0x80, is_zip = start[0] == 'P' && start[1] == 'K';
  require(is_pickle || is_zip,
          "{}: expected safetensors or PyTorch's .pth, got other bytes at offset 0; name a weights file",
          file.string());
  return read_pth(file);
}

}  // namespace

TensorFile read_weights(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;  // a path that cannot be looked at fails below, with its reason
  if (!fs::is_directory(path, ignored)) {
    return path.string().ends_with(kIndexEnding) ? read_sharded(path, read_file) : read_file(path);
  }
  for (const std::string_view name : kNamesInFolder) {
    if (!fs::exists(path / name, ignored)) continue;
    TensorFile result = read_weights(path / name);
    if (const auto size = fs::file_size(path / kConfig, ignored); !ignored && size <= kConfigBytes) {
      const auto mapped = MappedFile::open(path / kConfig);
      result.metadata[kConfig] = std::string(mapped->bytes().begin(), mapped->bytes().end());
    }
    return result;
  }
  fail("{}: expected a run folder with {}, got a folder without; name a weights file or a run that has saved one",
       path.string(), fmt::join(kNamesInFolder, " or "));
}

TensorMap state_dict(const torch::nn::Module& module) {
  TensorMap tensors;
  for (const auto& member : module.named_parameters()) tensors.emplace(member.key(), member.value().detach());
  for (const auto& member : module.named_buffers()) tensors.emplace(member.key(), member.value().detach());
  return tensors;
}

TensorMap tensors_under(const TensorMap& tensors, std::string_view prefix) {
  TensorMap found;
  for (const auto& [name, value] : tensors) {
    if (name.starts_with(prefix)) found.emplace(name.substr(prefix.size()), value);
  }
  return found;
}

LoadReport load_state_dict(torch::nn::Module& module, const TensorMap& tensors) {
  const TensorMap own = state_dict(module);
  return copy_fitting(own, tensors, compare(own, tensors));
}

LoadReport load_state_dict_strict(torch::nn::Module& module, const TensorMap& tensors, std::string_view what) {
  const TensorMap own = state_dict(module);
  Comparison comparison = compare(own, tensors);
  const LoadReport& report = comparison.report;
  std::vector<std::string> parts;
  list(parts, report.missing, "missing");
  list(parts, report.unexpected, "unexpected");
  list(parts, report.wrong_shape, "of another shape");
  list(parts, report.wrong_dtype, "of another dtype");
  require(report.complete(),
          "{}: expected the {} tensors of this model, got {}; use the file of the same model and sizes, "
          "`beit inspect` lists all that does not fit",
          what, own.size(), fmt::join(parts, ", "));
  return copy_fitting(own, tensors, std::move(comparison));
}

}  // namespace beit
