#include "train/attention_maps.h"

#include <algorithm>

#include "core/normalise.h"

namespace beit {

AttentionShare attention_share(const ViTOptions& vit, int64_t images, int64_t most_bytes) {
  constexpr int64_t kFew = 4;  // layers, before another image
  const int64_t tokens = vit.grid.patches() + 1, layer_bytes = vit.heads * tokens * tokens;
  if (images < 1 || layer_bytes > most_bytes) return {};
  AttentionShare share;
  share.images = std::clamp<int64_t>(most_bytes / (layer_bytes * std::min(kFew, vit.depth)), 1, images);
  const int64_t layers = std::clamp<int64_t>(most_bytes / (layer_bytes * share.images), 1, vit.depth);
  for (int64_t i = 1; i <= layers; ++i) share.layers.push_back(i * vit.depth / layers);
  return share;
}

ReportAttention attention_maps(const LoadedBackbone& backbone, const ShownImages& shown, const AttentionShare& share,
                               const torch::Device& device) {
  ViT model = backbone.model;
  ReportAttention report{
      .layers = share.layers, .depth = model->options().depth, .grid = grid_of(backbone.options), .images = {}};
  for (int64_t i = 0; i < share.images; ++i) {
    const auto image_1CHW = normalise(shown.images_BCHW.narrow(0, i, 1).to(device), backbone.input);
    const auto weights_LHTT = torch::cat(model->attention(image_1CHW, share.layers)).to(torch::kCPU, torch::kFloat32);
    const auto largest_LHT = weights_LHTT.amax(-1);
    const auto parts_LHTT = (weights_LHTT / largest_LHT.unsqueeze(-1) * 255).round().to(torch::kUInt8);
    report.images.push_back({shown.images[static_cast<size_t>(i)], parts_LHTT, largest_LHT});
  }
  return report;
}

}  // namespace beit
