#include "cli/data_views.h"

#include "cli/images.h"
#include "data/views.h"
#include "train/evaluation.h"
#include "train/finetune.h"
#include "train/pretrain.h"
#include "train/vqkd.h"

namespace beit {
namespace {

Transform transform_of(const ViewChoice& choice) {
  ModelOptions model{.image_size = choice.image_size, .patch_size = choice.patch_size};
  resolve(model);
  DataOptions data = choice.data;
  data.min_crop = choice.min_crop > 0 ? choice.min_crop : choice.transform == "pretrain" ? 0.2 : 0.08;
  const auto seed = static_cast<uint64_t>(choice.seed);
  if (choice.transform == "eval") return evaluation_transform(model, kImagenetScale);
  if (choice.transform == "vqkd") return vqkd_transform(model, data, seed);
  if (choice.transform == "finetune") return finetune_transform(model, data, choice.augment, seed);
  MimChoice mim{.tokenizer_image_size = model.image_size};
  resolve(mim, model);
  return pretrain_transform(model, mim, data, seed);
}

}  // namespace

OptionList ViewChoice::options() {
  return join({{{.name = "transform",
                 .value = &transform,
                 .help = "views as of beit pretrain, beit vqkd, fine-tuning, or evaluation",
                 .choices = {"pretrain", "vqkd", "finetune", "eval"}},
                {.name = "image-size",
                 .value = &image_size,
                 .help = "pixels of a view's side",
                 .range = {.least = 1, .most = 16384}},
                {.name = "patch-size",
                 .value = &patch_size,
                 .help = "pixels of a patch's side, for the masks of pretrain",
                 .range = {.least = 1, .most = 16384}},
                {.name = "seed", .value = &seed, .help = "of everything random", .range = {.least = 0}},
                {.name = "min-crop",
                 .value = &min_crop,
                 .help = "smallest share of the area that a random crop keeps; 0: 0.2 for pretrain, else 0.08; 1: no "
                         "random crop",
                 .range = {.least = 0, .most = 1}}},
               pick(describe(data), {"data", "workers", "color-jitter", "decode", "apply-orientation", "max-damaged"}),
               describe(augment)});
}

std::vector<std::string> ViewChoice::names() const {
  if (transform == "pretrain") return {"images", "tokenizer_images", "mask"};
  return {"images"};
}

PixelScale ViewChoice::scale(const std::string& name) const {
  return transform == "vqkd" || name == "tokenizer_images" ? kUnitScale : kImagenetScale;
}

Dataset ViewChoice::open() const { return open_images(data.data, "data"); }

Loader ViewChoice::loader(const Dataset& images, int64_t batch_size, bool in_order) const {
  LoaderOptions options = is_training() ? training_loading(data, batch_size, static_cast<uint64_t>(seed))
                                        : evaluation_loading(data, batch_size);
  if (in_order) options.order.shuffle = Shuffle::kNone;
  if (in_order) options.drop_last = false;
  return Loader(images, transform_of(*this), options);
}

}  // namespace beit
