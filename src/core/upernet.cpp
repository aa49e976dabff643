#include "core/upernet.h"

#include <array>

#include "base/error.h"

namespace beit {
namespace {

constexpr size_t kMaps = 4;

torch::nn::Conv2d classes_of(const HeadOptions& options) {
  require(options.channels > 0 && options.classes > 0 && options.dropout >= 0 && options.dropout < 1,
          "segmenter: expected positive channels and classes and a dropout in [0, 1), got {}, {} and {}",
          options.channels, options.classes, options.dropout);
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(options.channels, options.classes, 1));
  torch::nn::init::normal_(conv->weight, 0.0, 0.01);
  torch::nn::init::zeros_(conv->bias);
  return conv;
}

/// Whole channels of a sample are left out, and the others scaled by 1/(1-p); the draw belongs to the sample.
torch::Tensor drop_channels(const torch::Tensor& x_BChw, double rate, const StepPart& part) {
  const int64_t images = x_BChw.size(0), channels = x_BChw.size(1);
  StepPart of_channels;  // each channel of a sample draws as a sample of its own
  if (part.samples > 0) {
    const auto channel_C = torch::arange(channels, part.samples_B.options());
    of_channels = {.samples = part.samples * channels,
                   .samples_B = (part.samples_B.unsqueeze(1) * channels + channel_C).flatten()};
  }
  const auto kept_BC = uniform_by_sample(images * channels, of_channels, x_BChw.device()).ge(rate);
  return x_BChw * (kept_BC.to(x_BChw.dtype()) / (1.0 - rate)).view({images, channels, 1, 1});
}

torch::Tensor to_size_of(const torch::Tensor& x_BChw, const torch::Tensor& other_BChw) {
  return resize_map(x_BChw, other_BChw.size(2), other_BChw.size(3));
}

}  // namespace

torch::Tensor resize_map(const torch::Tensor& x_BChw, int64_t height, int64_t width) {
  if (x_BChw.size(2) == height && x_BChw.size(3) == width) return x_BChw;
  return torch::upsample_bilinear2d(x_BChw, {height, width}, /*align_corners=*/false);
}

ConvModuleImpl::ConvModuleImpl(int64_t in_channels, int64_t channels, int64_t kernel, const Ranks& ranks)
    : conv_(register_module(
          "conv",
          torch::nn::Conv2d(torch::nn::Conv2dOptions(in_channels, channels, kernel).padding(kernel / 2).bias(false)))),
      bn_(register_module("bn", BatchNorm(channels, ranks))) {
  torch::nn::init::kaiming_normal_(conv_->weight, 0.0, torch::kFanOut, torch::kReLU);
}

torch::Tensor ConvModuleImpl::forward(const torch::Tensor& x_BChw) {
  return torch::relu(bn_->forward(conv_->forward(x_BChw)));
}

UPerNetImpl::UPerNetImpl(const HeadOptions& options, const Ranks& ranks)
    : dropout_(options.dropout), conv_seg_(register_module("conv_seg", classes_of(options))) {
  constexpr std::array<int64_t, 4> kParts{1, 2, 3, 6};
  const auto [in, channels, classes, dropout] = options;
  for (const int64_t parts : kParts) {
    psp_modules_->push_back(
        torch::nn::Sequential(torch::nn::AdaptiveAvgPool2d(parts), ConvModule(in, channels, 1, ranks)));
  }
  const int64_t pooled = in + static_cast<int64_t>(kParts.size()) * channels;
  for (size_t i = 0; i + 1 < kMaps; ++i) {
    lateral_convs_->push_back(ConvModule(in, channels, 1, ranks));
    fpn_convs_->push_back(ConvModule(channels, channels, 3, ranks));
  }
  register_module("psp_modules", psp_modules_);
  bottleneck_ = register_module("bottleneck", ConvModule(pooled, channels, 3, ranks));
  register_module("lateral_convs", lateral_convs_);
  register_module("fpn_convs", fpn_convs_);
  fpn_bottleneck_ =
      register_module("fpn_bottleneck", ConvModule(static_cast<int64_t>(kMaps) * channels, channels, 3, ranks));
}

torch::Tensor UPerNetImpl::forward(const std::vector<torch::Tensor>& maps, const StepPart& part) {
  require(maps.size() == kMaps, "upernet: expected {} maps, got {}", kMaps, maps.size());
  const auto& coarsest_BChw = maps.back();
  std::vector<torch::Tensor> pooled{coarsest_BChw};
  for (const auto& module : *psp_modules_) {
    pooled.push_back(to_size_of(module->as<torch::nn::SequentialImpl>()->forward(coarsest_BChw), coarsest_BChw));
  }
  std::vector<torch::Tensor> levels(kMaps);
  levels.back() = bottleneck_->forward(torch::cat(pooled, 1));
  for (size_t i = kMaps - 1; i-- > 0;) {
    levels[i] = lateral_convs_->at<ConvModuleImpl>(i).forward(maps[i]);
    levels[i] = levels[i] + to_size_of(levels[i + 1], levels[i]);
  }
  std::vector<torch::Tensor> merged;
  for (size_t i = 0; i < kMaps; ++i) {
    const bool coarsest = i + 1 == kMaps;
    const auto level_BChw = coarsest ? levels[i] : fpn_convs_->at<ConvModuleImpl>(i).forward(levels[i]);
    merged.push_back(to_size_of(level_BChw, maps.front()));
  }
  auto x_BChw = fpn_bottleneck_->forward(torch::cat(merged, 1));
  if (is_training() && dropout_ > 0) x_BChw = drop_channels(x_BChw, dropout_, part);
  return conv_seg_->forward(x_BChw);
}

FcnHeadImpl::FcnHeadImpl(const HeadOptions& options, const Ranks& ranks)
    : dropout_(options.dropout), conv_seg_(register_module("conv_seg", classes_of(options))) {
  convs_->push_back(ConvModule(options.in_channels, options.channels, 3, ranks));
  register_module("convs", convs_);
}

torch::Tensor FcnHeadImpl::forward(const torch::Tensor& map_BChw, const StepPart& part) {
  auto x_BChw = convs_->at<ConvModuleImpl>(0).forward(map_BChw);
  if (is_training() && dropout_ > 0) x_BChw = drop_channels(x_BChw, dropout_, part);
  return conv_seg_->forward(x_BChw);
}

}  // namespace beit
