// Shape letters: B images of a batch, I images, D width, R rows, k neighbours.
#include "train/neighbours.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "core/normalise.h"
#include "core/probe.h"
#include "train/code_atlas.h"
#include "train/evaluation.h"
#include "train/evaluation_batches.h"
#include "train/shown_images.h"

namespace beit {

ReportNeighbours nearest_images(const LoadedBackbone& backbone, const Dataset& images, const DataOptions& data,
                                const NeighbourOptions& options, const torch::Device& device, bool quiet) {
  const torch::NoGradGuard no_grad;
  ViT model = backbone.model;
  LoaderOptions loading = evaluation_loading(data, options.batch_size, OnDamage::kSkip);
  loading.order = {.seed = 0, .shuffle = Shuffle::kFull};
  std::vector<torch::Tensor> features_BD, indices_B;
  const auto add = [&](const Batch& batch) {
    const auto tokens_BTD = model->tokens(normalise(batch.views[0], backbone.input));
    features_BD.push_back(pool(tokens_BTD, FeaturePooling::kMean).to(torch::kCPU, torch::kFloat32));
    indices_B.push_back(batch.indices_B);
  };
  const int64_t done =
      each_evaluation_batch(images, evaluation_transform(backbone.options), loading, options.images, device, quiet, add)
          .images;
  require(done >= 2, "report: expected at least two images that can be read, got {}", done);

  namespace F = torch::nn::functional;
  const auto unit_ID = F::normalize(torch::cat(features_BD), F::NormalizeFuncOptions().dim(1));
  const auto indices_I = torch::cat(indices_B);
  const int64_t rows = std::min(options.rows, done), nearest = std::min(options.nearest, done - 1);
  auto cosine_RI = unit_ID.slice(0, 0, rows).mm(unit_ID.t());
  cosine_RI.fill_diagonal_(-std::numeric_limits<double>::infinity());  // itself
  const auto [cosine_Rk, place_Rk] = cosine_RI.topk(nearest, 1);
  const auto picture = [&](int64_t place) -> NamedPicture {
    const auto index = indices_I[place].item<int64_t>();
    const auto pixels_HWC = evaluation_image(images, index, backbone.options, data.apply_orientation);
    return {images.path(index), encoded(pixels_HWC, options.side)};
  };
  ReportNeighbours report{.images = done, .rows = {}};
  for (int64_t row = 0; row < rows; ++row) {
    NeighbourRow one{.image = picture(row), .nearest = {}};
    for (int64_t k = 0; k < nearest; ++k)
      one.nearest.push_back({picture(place_Rk[row][k].item<int64_t>()), cosine_Rk[row][k].item<double>()});
    report.rows.push_back(std::move(one));
  }
  return report;
}

}  // namespace beit
