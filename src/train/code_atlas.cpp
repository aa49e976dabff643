#include "train/code_atlas.h"

#include "base/error.h"
#include "data/augment.h"
#include "data/encoded_image.h"
#include "data/resize.h"
#include "train/evaluation.h"
#include "train/evaluation_batches.h"
#include "viz/surroundings.h"

namespace beit {

int64_t each_batch_of_codes(const LoadedTokenizer& tokenizer, const Dataset& images, const DataOptions& data,
                            int64_t batch_size, const torch::Device& device, bool quiet,
                            const std::function<void(const Batch& batch, const NearestCodes& found)>& use) {
  Tokenizer model = tokenizer.model;
  const auto use_codes = [&](const Batch& batch) {
    const NearestCodes found = model->nearest(batch.views[0]);
    use(batch, {found.ids_BN.to(torch::kCPU), found.similarity_BN.to(torch::kCPU)});
  };
  const int64_t done = each_evaluation_batch(images, evaluation_transform(tokenizer.options),
                                             evaluation_loading(data, batch_size, OnDamage::kSkip), images.size(),
                                             device, quiet, use_codes)
                           .images;
  require(done > 0, "codes: expected images that can be read, got {} damaged ones", images.size());
  return done;
}

CodeAtlas make_atlas(const LoadedTokenizer& tokenizer, const Dataset& images, const DataOptions& data, int64_t examples,
                     int64_t batch_size, const torch::Device& device, bool quiet) {
  AtlasBuilder atlas(tokenizer.codebook.codes, grid_of(tokenizer.options), examples);
  each_batch_of_codes(tokenizer, images, data, batch_size, device, quiet,
                      [&](const Batch& batch, const NearestCodes& found) {
                        atlas.add(batch.indices_B, found.ids_BN, found.similarity_BN);
                      });
  return atlas.finish();
}

torch::Tensor codes_of_view(const LoadedTokenizer& tokenizer, const torch::Tensor& view_HWC,
                            const torch::Device& device) {
  Tokenizer model = tokenizer.model;
  return model->codes(to_float(view_HWC).unsqueeze(0).to(device))[0].to(torch::kCPU);
}

torch::Tensor evaluation_image(const Dataset& images, int64_t index, const ModelOptions& model,
                               bool apply_orientation) {
  const auto bytes = images.read(index);
  return evaluation_pixels(EncodedImage(bytes, images.path(index), apply_orientation).decode(),
                           {model.image_size, model.image_size});
}

torch::Tensor patch_with_surroundings(const Dataset& images, const PatchPlace& place, const ModelOptions& model,
                                      int64_t context, bool apply_orientation) {
  const Grid grid = grid_of(model);
  return cut_surroundings(evaluation_image(images, place.image, model, apply_orientation), grid,
                          surroundings_of(place.patch, grid, context))
      .clone(at::MemoryFormat::Contiguous);
}

torch::Tensor outlined_example(const Dataset& images, const PatchPlace& place, const ModelOptions& model,
                               int64_t context, int64_t side, bool apply_orientation) {
  return outlined_patch(patch_with_surroundings(images, place, model, context, apply_orientation),
                        surroundings_of(place.patch, grid_of(model), context), side);
}

}  // namespace beit
