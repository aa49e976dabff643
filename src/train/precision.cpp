#include "train/precision.h"

#include <ATen/autocast_mode.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "base/error.h"

namespace beit {
namespace {

constexpr double kFirstScale = 65536, kMostScale = 16777216;
constexpr int64_t kStepsToDouble = 2000;

bool processor_has_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;  // every processor with AMX has it
#elif defined(__aarch64__)
  constexpr unsigned long kBf16 = 1UL << 14;  // of the kernel's HWCAP2
  return (getauxval(AT_HWCAP2) & kBf16) != 0;
#else
  return false;
#endif
}

}  // namespace

std::optional<torch::ScalarType> reduced_type(const std::string& precision, const torch::Device& device) {
  if (precision == "float32") return std::nullopt;
  const bool half = precision == "fp16";
  require(half || precision == "bf16", "precision: expected float32, bf16 or fp16, got '{}'", precision);
  require(!half || !device.is_cpu(),
          "precision: expected a GPU for fp16, got the CPU; use --precision float32 or bf16");
  require(!device.is_cpu() || processor_has_bf16(),
          "precision: expected a processor with AMX or AVX512-BF16 for bf16, got one without, where it would take many "
          "times as long; use --precision float32");
  return half ? torch::kFloat16 : torch::kBFloat16;
}

Autocast::Autocast(const torch::Device& device, std::optional<torch::ScalarType> type)
    : device_(device.type()), on_(type.has_value()) {
  if (!on_) return;
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_, *type);
}

Autocast::~Autocast() {
  if (!on_) return;
  at::autocast::set_autocast_enabled(device_, false);
  at::autocast::clear_cache();  // of weights in the reduced type
}

LossScale::LossScale(std::optional<torch::ScalarType> type)
    : scales_(type == torch::kFloat16), scale_(scales_ ? kFirstScale : 1.0) {}

void LossScale::unscale(const std::vector<torch::Tensor>& grads) const {
  if (scale_ == 1.0) return;
  const torch::NoGradGuard no_grad;
  at::_foreach_mul_(grads, 1.0 / scale_);
}

void LossScale::note_step() {
  if (!scales_ || ++steps_ < kStepsToDouble) return;
  scale_ = std::min(2.0 * scale_, kMostScale);
  steps_ = 0;
}

bool LossScale::halve() {
  if (scale_ <= 1.0) return false;
  scale_ /= 2.0;
  steps_ = 0;
  return true;
}

TensorMap LossScale::state() const {
  if (!scales_) return {};
  return {{"scale", torch::tensor({scale_}, torch::kFloat64)}, {"steps", torch::tensor({steps_}, torch::kInt64)}};
}

void LossScale::set_state(const TensorMap& state) {
  const auto scale = state.find("scale"), steps = state.find("steps");
  if (!scales_ || scale == state.end() || steps == state.end()) return;
  scale_ = scale->second.item<double>();
  steps_ = steps->second.item<int64_t>();
}

}  // namespace beit
