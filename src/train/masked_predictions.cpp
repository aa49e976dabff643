// Shape letters: N patches of an image, M masked ones, V codes.
#include "train/masked_predictions.h"

#include "base/error.h"
#include "core/normalise.h"
#include "data/augment.h"
#include "data/mask.h"
#include "train/code_atlas.h"
#include "train/shown_images.h"

namespace beit {

ReportMasks masked_predictions(const LoadedMim& mim, const LoadedTokenizer& tokenizer, const Dataset& images,
                               const std::vector<int64_t>& indices, bool apply_orientation,
                               const torch::Device& device) {
  require(mim.codes == tokenizer.codebook.codes,
          "report: expected a tokenizer of {} codes, as the model foretells, got {}; give the one that it was trained "
          "with",
          mim.codes, tokenizer.codebook.codes);
  const torch::NoGradGuard no_grad;
  MaskedImageModel model = mim.model;
  const Grid grid = grid_of(mim.options);
  ModelOptions coder_view = tokenizer.options;
  coder_view.image_size = grid.rows * tokenizer.options.patch_size;
  const MaskOptions mask{.masked = mim.choice.masked_patches, .min_block = mim.choice.min_mask_block};
  ReportMasks report{.grid = grid, .images = {}};
  for (const int64_t index : indices) {
    const auto view = [&](const ModelOptions& options) {
      return evaluation_image(images, index, options, apply_orientation);
    };
    const auto pixels_HWC = view(mim.options);
    const auto student_1CHW = to_float(pixels_HWC, kImagenetScale).unsqueeze(0).to(device);
    const auto codes_N = codes_of_view(tokenizer, view(coder_view), device);
    Random random(0, 0, static_cast<uint64_t>(index), Purpose::kMask);
    const auto mask_N = block_mask(grid, mask, random);
    const auto logits_MV = model->forward(student_1CHW, mask_N.unsqueeze(0)).main_MV;
    const auto [confidence_M, foretold_M] = logits_MV.to(torch::kFloat32).softmax(1).max(1);
    const auto spread = [&](const torch::Tensor& values_M, double elsewhere) {
      return torch::full({grid.patches()}, elsewhere, values_M.scalar_type())
          .masked_scatter(mask_N, values_M.to(torch::kCPU));
    };
    report.images.push_back({.image = {images.path(index), encoded(pixels_HWC)},
                             .mask_N = mask_N,
                             .codes_N = codes_N,
                             .foretold_N = spread(foretold_M, -1),
                             .confidence_N = spread(confidence_M, 0)});
  }
  return report;
}

}  // namespace beit
