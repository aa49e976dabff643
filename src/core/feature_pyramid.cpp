#include "core/feature_pyramid.h"

#include <algorithm>

#include "base/error.h"
#include "core/batch_norm.h"

namespace beit {
namespace {

torch::nn::ConvTranspose2d twice(int64_t width) {
  return torch::nn::ConvTranspose2d(torch::nn::ConvTranspose2dOptions(width, width, 2).stride(2));
}

}  // namespace

std::vector<int64_t> pyramid_layers(int64_t depth) {
  std::vector<int64_t> layers;
  for (const int64_t sixths : {2, 3, 4, 6}) layers.push_back(std::max<int64_t>((depth * sixths + 3) / 6, 1));
  return layers;
}

FeaturePyramidImpl::FeaturePyramidImpl(const ViTOptions& options, const std::vector<int64_t>& layers,
                                       const Ranks& ranks)
    : ViTImpl(options, FinalNorm::kNone),
      layers_(layers),
      fpn1_(twice(options.width), BatchNorm(options.width, ranks), torch::nn::GELU(), twice(options.width)),
      fpn2_(twice(options.width)) {
  require(layers.size() == 4 && layers.front() >= 1 && std::ranges::is_sorted(layers) && layers.back() == options.depth,
          "feature pyramid: expected four rising layers from 1 to {}, the last of the blocks, got [{}]", options.depth,
          fmt::join(layers, ", "));
  register_module("fpn1", fpn1_);
  register_module("fpn2", fpn2_);
}

std::vector<torch::Tensor> FeaturePyramidImpl::maps(const torch::Tensor& images_BCHW, const StepPart& part) {
  const auto [rows, columns] = grid(images_BCHW);
  require(rows >= 2 && columns >= 2, "feature pyramid: expected images of at least 2x2 patches, got {}x{} of {} pixels",
          rows, columns, options_.patch_size);
  auto distinct = layers_;
  distinct.erase(std::ranges::unique(distinct).begin(), distinct.end());
  const auto tokens = layers(images_BCHW, distinct, part);
  std::vector<torch::Tensor> maps;
  for (const int64_t layer : layers_) {
    const auto& x_BTD = tokens[static_cast<size_t>(std::ranges::find(distinct, layer) - distinct.begin())];
    maps.push_back(x_BTD.slice(1, 1).transpose(1, 2).unflatten(2, {rows, columns}));
  }
  maps[0] = fpn1_->forward(maps[0]);
  maps[1] = fpn2_->forward(maps[1]);
  maps[3] = torch::max_pool2d(maps[3], 2);
  return maps;
}

}  // namespace beit
