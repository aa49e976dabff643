#include "io/weights.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "io/mapped_file.h"
#include "io/pth.h"

namespace beit {
namespace {

constexpr std::string_view kDerived = "relative_position_index";
constexpr size_t kNamed = 3;  // names of each kind in an error

std::string shape(const torch::Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes().begin(), tensor.sizes().end(), ", "));
}

LoadReport compare(const TensorMap& own, const TensorMap& tensors) {
  LoadReport report;
  for (const auto& [name, tensor] : own) {
    const auto found = tensors.find(name);
    if (name.ends_with(kDerived)) continue;
    if (found == tensors.end()) {
      report.missing.push_back(name);
    } else if (found->second.sizes() != tensor.sizes()) {
      report.wrong_shape.push_back(fmt::format("{}: expected {}, got {}", name, shape(tensor), shape(found->second)));
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (!own.contains(name) && !name.ends_with(kDerived)) report.unexpected.push_back(name);
  }
  return report;
}

void copy_fitting(const TensorMap& own, const TensorMap& tensors) {
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || name.ends_with(kDerived) || found->second.sizes() != tensor.sizes()) continue;
    torch::Tensor target = tensor;
    target.copy_(found->second);
  }
}

/// "2 missing (a, b)", or nothing.
void list(std::vector<std::string>& parts, const std::vector<std::string>& names, std::string_view kind) {
  if (names.empty()) return;
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + static_cast<ptrdiff_t>(std::min(names.size(), kNamed)));
  parts.push_back(
      fmt::format("{} {} ({}{})", names.size(), kind, fmt::join(first, ", "), names.size() > kNamed ? ", ..." : ""));
}

}  // namespace

TensorFile read_weights(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;  // a path that cannot be looked at fails below, with its reason
  const bool is_run = fs::is_directory(path, ignored);
  const fs::path file = is_run ? path / "model.safetensors" : path;
  require(!is_run || fs::exists(file, ignored),
          "{}: expected a run folder with model.safetensors, got a folder without; name "
          "a weights file or a run that has saved one",
          path.string());
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
  copy_fitting(own, tensors);
  return compare(own, tensors);
}

void load_state_dict_strict(torch::nn::Module& module, const TensorMap& tensors, std::string_view what) {
  const TensorMap own = state_dict(module);
  const LoadReport report = compare(own, tensors);
  std::vector<std::string> parts;
  list(parts, report.missing, "missing");
  list(parts, report.unexpected, "unexpected");
  list(parts, report.wrong_shape, "of another shape");
  require(report.complete(),
          "{}: expected the {} tensors of this model, got {}; use the file of the same model and sizes", what,
          own.size(), fmt::join(parts, ", "));
  copy_fitting(own, tensors);
}

}  // namespace beit
