#include "core/efficientnet_lite.h"

#include <algorithm>
#include <array>
#include <span>

#include "base/error.h"
#include "base/parallel.h"
#include "core/full_precision.h"
#include "core/onednn.h"

namespace beit {
namespace {

constexpr std::string_view kWhat = "efficientnet-lite teacher";
constexpr double kNormEps = 1e-3;
constexpr std::array<int64_t, 7> kStageKernels{3, 3, 5, 3, 5, 5, 3}, kStageStrides{1, 2, 2, 2, 1, 2, 1};
constexpr size_t kLastStridedStage = 5;
/// So many pixels at a time on a thread: what a layer gives stays in the cache until the next one reads it.
constexpr int64_t kPixelsAtOnce = 4 * 128 * 128;

}  // namespace

/// Hands out tensors by name and notes which are left.
class EfficientNetLite::Reader {
 public:
  explicit Reader(const NamedTensors& file) : left_(tower_weights(file, "_conv_stem.weight", kWhat)) {}

  bool has(const std::string& name) const { return left_.contains(name); }
  int64_t blocks() const { return count_blocks(left_, "_blocks.", kWhat); }

  torch::Tensor take(const std::string& name, int64_t dimensions) {
    const auto tensor = tower_tensor(left_, name, dimensions, kWhat);
    left_.erase(name);
    return tensor;
  }

  int64_t channels_out(const std::string& conv) const {
    return tower_tensor(left_, conv + ".weight", 4, kWhat).size(0);
  }

  struct Shape {
    int64_t in = 0, kernel = 1, stride = 1;
    bool depthwise = false, relu6 = true;
  };

  /// The convolution `conv` with the normalisation `norm` after it.
  Convolution convolution(const std::string& conv, const std::string& norm, const Shape& shape) {
    const auto weight = take(conv + ".weight", 4).to(torch::kFloat64);
    const int64_t out = shape.depthwise ? shape.in : weight.size(0);
    const std::array<int64_t, 4> expected{out, shape.depthwise ? 1 : shape.in, shape.kernel, shape.kernel};
    require(weight.sizes() == torch::IntArrayRef(expected),
            "{}: expected '{}.weight' as [{}], got [{}]; --teacher-weights names another network's file", kWhat, conv,
            fmt::join(expected, ", "), fmt::join(weight.sizes(), ", "));
    const auto norm_tensor = [&](const char* part) {
      const auto tensor = take(norm + part, 1).to(torch::kFloat64);
      require(tensor.size(0) == out,
              "{}: expected '{}{}' as [{}], got [{}]; --teacher-weights names another network's file", kWhat, norm,
              part, out, tensor.size(0));
      return tensor;
    };
    const auto scale = norm_tensor(".weight") / (norm_tensor(".running_var") + kNormEps).sqrt();
    const auto bias = norm_tensor(".bias") - norm_tensor(".running_mean") * scale;
    auto folded = weight * scale.view({-1, 1, 1, 1});
    if (shape.stride == 2) folded = torch::constant_pad_nd(folded, {1, 0, 1, 0});
    Convolution convolution{.weight = folded.to(torch::kFloat32).contiguous(torch::MemoryFormat::ChannelsLast),
                            .bias = bias.to(torch::kFloat32),
                            .kernel = shape.kernel,
                            .stride = shape.stride,
                            .groups = shape.depthwise ? shape.in : 1,
                            .relu6 = shape.relu6};
    if (has_onednn()) convolution.lay_out();
    return convolution;
  }

  void finish() const {
    require(left_.empty(),
            "{}: expected no more tensors than the network's, got {} others, the first '{}'; "
            "--teacher-weights names another network's file",
            kWhat, left_.size(), left_.begin()->first);
  }

 private:
  NamedTensors left_;
};

EfficientNetLite::EfficientNetLite(const NamedTensors& file) {
  torch::NoGradGuard no_grad;
  Reader reader(file);
  stem_ = reader.convolution("_conv_stem", "_bn0", {.in = 3, .kernel = 3, .stride = 2});
  int64_t channels = stem_.weight.size(0);
  size_t stages = 0;
  for (int64_t i = 0, end = reader.blocks(); i < end; ++i) {
    const auto name = fmt::format("_blocks.{}.", i);
    // The number of channels changes from each stage to the next and nowhere else, in all five sizes.
    const int64_t out = reader.channels_out(name + "_project_conv");
    const bool first = out != channels || i == 0;
    if (first && stages == kLastStridedStage) map_blocks_ = blocks_.size();
    if (first) ++stages;
    require(stages <= kStageKernels.size(),
            "{}: expected {} stages, got more; --teacher-weights names another network's file", kWhat,
            kStageKernels.size());
    Block block;
    block.residual = !first;
    if (i > 0) {
      block.expand = reader.convolution(name + "_expand_conv", name + "_bn0", {.in = channels});
      channels = block.expand.weight.size(0);
    }
    block.depthwise = reader.convolution(name + "_depthwise_conv", name + "_bn1",
                                         {.in = channels,
                                          .kernel = kStageKernels[stages - 1],
                                          .stride = first ? kStageStrides[stages - 1] : 1,
                                          .depthwise = true});
    block.project = reader.convolution(name + "_project_conv", name + "_bn2", {.in = channels, .relu6 = false});
    channels = out;
    blocks_.push_back(std::move(block));
  }
  require(stages == kStageKernels.size(),
          "{}: expected {} stages, got {}; --teacher-weights names another network's file", kWhat, kStageKernels.size(),
          stages);
  head_ = reader.convolution("_conv_head", "_bn1", {.in = channels});
  fc_weight_ = reader.take("_fc.weight", 2).to(torch::kFloat32, /*non_blocking=*/false, /*copy=*/true);
  fc_bias_ = reader.take("_fc.bias", 1).to(torch::kFloat32, /*non_blocking=*/false, /*copy=*/true);
  require(fc_weight_.size(0) == fc_bias_.size(0) && fc_weight_.size(1) == head_.weight.size(0),
          "{}: expected '_fc.weight' as [{}, {}], got [{}]; --teacher-weights names another network's file", kWhat,
          fc_bias_.size(0), head_.weight.size(0), fmt::join(fc_weight_.sizes(), ", "));
  reader.finish();
}

std::array<int64_t, 2> EfficientNetLite::Convolution::padding(int64_t height, int64_t width) const {
  // TensorFlow pads with total = max((ceil(n / stride) - 1) stride + kernel - n, 0), the smaller half in front. At
  // stride 2 the kernel has a row and a column of zeros in front (see Reader), which takes up one more in front: so
  // the same padding on both sides serves even and odd sizes, where padding one side alone would copy the map.
  const auto side = [&](int64_t n) { return stride == 1 ? kernel / 2 : (kernel - 1) / 2 + n % 2; };
  return {side(height), side(width)};
}

void EfficientNetLite::Convolution::lay_out() {
  using Signature = torch::Tensor(const torch::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, int64_t,
                                  at::OptionalIntArrayRef);
  static const auto op = onednn_op<Signature>("mkldnn::_reorder_convolution_weight");
  weight = op.call(weight, padding(0, 0), {stride, stride}, {1, 1}, groups, std::nullopt);
}

torch::Tensor EfficientNetLite::Convolution::operator()(const torch::Tensor& x_BCHW) const {
  const auto pads = padding(x_BCHW.size(2), x_BCHW.size(3));
  if (weight.is_mkldnn()) {
    using Scalars = c10::List<std::optional<at::Scalar>>;
    using Signature = torch::Tensor(const torch::Tensor&, const torch::Tensor&, const std::optional<torch::Tensor>&,
                                    at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, int64_t, c10::string_view,
                                    Scalars, std::optional<c10::string_view>);
    static const auto op = onednn_op<Signature>("mkldnn::_convolution_pointwise");
    return op.call(x_BCHW, weight, bias, pads, {stride, stride}, {1, 1}, groups, relu6 ? "hardtanh" : "none",
                   relu6 ? Scalars({0.0, 6.0}) : Scalars(), "");
  }
  auto y_BCHW = torch::conv2d(x_BCHW, weight, bias, stride, pads, 1, groups);
  return relu6 ? y_BCHW.clamp_(0, 6) : y_BCHW;
}

torch::Tensor EfficientNetLite::stem(const torch::Tensor& images_BCHW) const {
  const auto scaled = images_BCHW.mul(255.0 / 128.0).sub_(127.0 / 128.0);  // (x - 127) / 128 of x in 0..255
  return stem_(scaled.contiguous(torch::MemoryFormat::ChannelsLast));
}

torch::Tensor EfficientNetLite::run(torch::Tensor x_BCHW, size_t blocks) const {
  for (size_t i = 0; i < blocks; ++i) {
    const Block& block = blocks_[i];
    auto y_BCHW = block.depthwise(block.expand.weight.defined() ? block.expand(x_BCHW) : x_BCHW);
    y_BCHW = block.project(y_BCHW);
    x_BCHW = block.residual ? y_BCHW.add_(x_BCHW) : y_BCHW;
  }
  return x_BCHW;
}

template <class Network>
torch::Tensor EfficientNetLite::in_parts(const torch::Tensor& images_BCHW, const Network& network) const {
  require(images_BCHW.dim() == 4 && images_BCHW.size(1) == 3 && images_BCHW.numel() > 0 &&
              images_BCHW.scalar_type() == torch::kFloat32,
          "{}: expected float32 images [B, 3, H, W] in [0, 1], got {} [{}]; scale bytes by 1/255", kWhat,
          torch::toString(images_BCHW.scalar_type()), fmt::join(images_BCHW.sizes(), ", "));
  const torch::NoGradGuard no_grad;
  if (!images_BCHW.is_cpu()) return network(images_BCHW);
  const FullPrecision full_precision;
  const int64_t images = std::max<int64_t>(1, kPixelsAtOnce / (images_BCHW.size(2) * images_BCHW.size(3)));
  auto parts = images_BCHW.split(images);
  const auto compute = [&](int64_t begin, int64_t end) {
    const torch::NoGradGuard no_grad_here;  // a thread's own; autocast is off on new ones
    for (auto& part : std::span(parts).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)))
      part = network(part);
  };
  // A part is one thread's, which saves the threads from waiting for each other in every layer; with fewer parts than
  // threads a layer is shared out among all.
  const auto count = static_cast<int64_t>(parts.size());
  if (count < at::get_num_threads()) {
    compute(0, count);
  } else {
    parallel_for(0, count, 1, compute);
  }
  return count == 1 ? parts[0] : torch::cat(parts);
}

torch::Tensor EfficientNetLite::map(const torch::Tensor& images_BCHW) const {
  return in_parts(images_BCHW, [&](const torch::Tensor& part) { return run(stem(part), map_blocks_); });
}

torch::Tensor EfficientNetLite::logits(const torch::Tensor& images_BCHW) const {
  return in_parts(images_BCHW, [&](const torch::Tensor& part) {
    const auto features_BC = head_(run(stem(part), blocks_.size())).mean({2, 3});
    return torch::linear(features_BC, fc_weight_, fc_bias_);
  });
}

void EfficientNetLite::to(const torch::Device& device) {
  const auto move = [&](torch::Tensor& tensor) {
    if (!tensor.defined() || tensor.device() == device) return;
    if (tensor.is_mkldnn()) tensor = tensor.to_dense().contiguous(torch::MemoryFormat::ChannelsLast);
    tensor = tensor.to(device);
  };
  const auto move_convolution = [&](Convolution& convolution) {
    move(convolution.weight);
    move(convolution.bias);
  };
  move_convolution(stem_);
  for (Block& block : blocks_) {
    move_convolution(block.expand);
    move_convolution(block.depthwise);
    move_convolution(block.project);
  }
  move_convolution(head_);
  move(fc_weight_);
  move(fc_bias_);
}

}  // namespace beit
