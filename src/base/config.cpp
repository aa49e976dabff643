#include "base/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"

namespace beit {
namespace {

/// Those of the paper; tiny and small are ours.
struct NamedSize {
  std::string_view name;
  int64_t width, depth, heads, patch_size;
};
constexpr std::array<NamedSize, 6> kSizes{{{"tiny", 192, 12, 3, 16},
                                           {"small", 384, 12, 6, 16},
                                           {"base", 768, 12, 12, 16},
                                           {"24x544", 544, 24, 16, 16},
                                           {"large", 1024, 24, 16, 16},
                                           {"huge", 1280, 32, 16, 14}}};

constexpr Range kFrom0{.least = 0}, kFrom1{.least = 1};
constexpr Range kShare{.least = 0, .most = 1, .without_most = true};
constexpr Range kSide{.least = 0, .most = 65536};  // pixels

std::vector<std::string> size_names() {
  std::vector<std::string> names;
  for (const NamedSize& size : kSizes) names.emplace_back(size.name);
  return names;
}

}  // namespace

OptionList describe(ModelOptions& o) {
  return {
      {.name = "model", .value = &o.model, .help = "named size of the network", .choices = size_names()},
      {.name = "width",
       .value = &o.width,
       .help = "of a token; 0: the named size's",
       .range = kFrom0,
       .yields_to = "model"},
      {.name = "depth",
       .value = &o.depth,
       .help = "blocks; 0: the named size's",
       .range = kFrom0,
       .yields_to = "model"},
      {.name = "heads",
       .value = &o.heads,
       .help = "of attention, divide the width; 0: the named size's",
       .range = kFrom0,
       .yields_to = "model"},
      {.name = "image-size",
       .value = &o.image_size,
       .help = "pixels of a side; 0: 224, or what the weights were trained at",
       .range = kSide},
      {.name = "patch-size",
       .value = &o.patch_size,
       .help = "pixels of a side; 0: 14 for huge, else 16",
       .range = kSide,
       .yields_to = "model"},
      {.name = "drop-path",
       .value = &o.drop_path,
       .help = "stochastic depth of the last block, in [0, 1)",
       .range = kShare},
  };
}

void resolve(ModelOptions& o) {
  check_ranges(describe(o), "model");
  const auto* size = std::find_if(kSizes.begin(), kSizes.end(), [&](const NamedSize& s) { return s.name == o.model; });
  require(size != kSizes.end(), "model: expected a named size, got '{}'", o.model);
  const auto fill = [](int64_t& value, int64_t named) { value = value == 0 ? named : value; };
  fill(o.width, size->width);
  fill(o.depth, size->depth);
  fill(o.heads, size->heads);
  fill(o.patch_size, size->patch_size);
  fill(o.image_size, 224);
  require(o.width % o.heads == 0, "model: expected heads that divide the width, got {} heads at width {}; set --heads",
          o.heads, o.width);
  require(
      o.image_size % o.patch_size == 0,
      "model: expected an image size that is a multiple of the patch size, got {} and {} pixels; set --image-size or "
      "--patch-size",
      o.image_size, o.patch_size);
}

std::string named_size(int64_t width, int64_t depth, int64_t heads) {
  const auto* size = std::ranges::find_if(
      kSizes, [&](const NamedSize& s) { return s.width == width && s.depth == depth && s.heads == heads; });
  return std::string(size == kSizes.end() ? "base" : size->name);
}

Grid grid_of(const ModelOptions& o) {
  const int64_t side = o.image_size / o.patch_size;
  return {.rows = side, .columns = side};
}

OptionList describe(CodebookOptions& o) {
  return {
      {.name = "codes", .value = &o.codes, .help = "size of the codebook", .range = {.least = 1, .most = 1 << 24}},
      {.name = "code-dim", .value = &o.code_dim, .help = "width of a code", .range = {.least = 1, .most = 4096}},
      {.name = "code-decay",
       .value = &o.code_decay,
       .help = "of the codes' moving average, in [0, 1)",
       .range = kShare},
      {.name = "beta", .value = &o.beta, .help = "weight of the commitment loss", .range = kFrom0},
      {.name = "kmeans-start", .value = &o.kmeans_start, .help = "first codes from k-means of the first batch"},
      {.name = "revive-threshold",
       .value = &o.revive_threshold,
       .help = "share of the mean use below which a code is dead and replaced; 0: never, as published",
       .range = kFrom0},
      {.name = "revive-every",
       .value = &o.revive_every,
       .help = "steps between two searches for dead codes",
       .range = kFrom1},
      {.name = "decoder-depth", .value = &o.decoder_depth, .help = "blocks of the decoder", .range = kFrom1},
      {.name = "input-form",
       .value = &o.input_form,
       .help = "how the encoder standardises pixels: 2x-1, or ImageNet's mean and deviation",
       .choices = {"default", "imagenet_norm"}},
  };
}

OptionList describe(TeacherChoice& o) {
  return {
      {.name = "teacher",
       .value = &o.teacher,
       .help = "whose features the tokenizer learns to predict",
       .choices = {"clip", "dino", "efficientnet-lite", "hog", "pixels"}},
      {.name = "teacher-weights",
       .value = &o.teacher_weights,
       .help = "file with the teacher's weights; hog and pixels need none",
       .value_name = "FILE"},
      {.name = "teacher-image-size",
       .value = &o.teacher_image_size,
       .help = "pixels of a side; 0: the teacher's own",
       .range = kSide},
      {.name = "teacher-cache",
       .value = &o.teacher_cache,
       .help = "file of its features for each image and its mirror image, made if it is missing; wants --min-crop 1 "
               "and memory for all of it",
       .value_name = "FILE"},
  };
}

OptionList describe(MimChoice& o) {
  return {
      {.name = "tokenizer",
       .value = &o.tokenizer,
       .help = "weights of a tokenizer, ours or published, or run folder of `beit vqkd`",
       .value_name = "FILE|RUN"},
      {.name = "tokenizer-image-size",
       .value = &o.tokenizer_image_size,
       .help = "pixels of a side of the tokenizer's view, for which its positions are resized; 0: its own",
       .range = kSide},
      {.name = "masked-patches",
       .value = &o.masked_patches,
       .help = "of an image, exactly; 0: 75 of 196, or that share",
       .range = kFrom0},
      {.name = "min-mask-block",
       .value = &o.min_mask_block,
       .help = "patches of the smallest masked block",
       .range = kFrom1},
      {.name = "cls-branch", .value = &o.cls_branch, .help = "CLS patch aggregation"},
      {.name = "early-layers",
       .value = &o.early_layers,
       .help = "block after which the CLS branch takes its patch tokens; 0: 9 of 12, 21 of 24, else three quarters",
       .range = kFrom0},
      {.name = "head-layers", .value = &o.head_layers, .help = "blocks of the CLS branch", .range = kFrom1},
      {.name = "shared-head", .value = &o.shared_head, .help = "one head for both branches"},
      {.name = "layer-scale", .value = &o.layer_scale, .help = "initial value; 0: none", .range = kFrom0},
  };
}

void resolve(MimChoice& o, const ModelOptions& model) {
  check_ranges(describe(o), "mim");
  const int64_t patches = grid_of(model).patches();
  if (o.masked_patches == 0) o.masked_patches = std::max<int64_t>(1, (75 * patches + 98) / 196);
  if (o.early_layers == 0) o.early_layers = model.depth == 24 ? 21 : std::max<int64_t>(1, model.depth * 3 / 4);
  require(o.masked_patches <= patches,
          "mim: expected between 1 and all {} patches masked, got {}; set --masked-patches", patches, o.masked_patches);
  require(!o.cls_branch || o.early_layers <= model.depth, "mim: expected early-layers of at most the depth {}, got {}",
          model.depth, o.early_layers);
}

OptionList describe(DecoderChoice& o) {
  return {
      {.name = "tokenizer",
       .value = &o.tokenizer,
       .help = "whose codes are decoded: its weights, ours or published, or run folder of `beit vqkd`",
       .value_name = "FILE|RUN"},
      {.name = "image-size",
       .value = &o.image_size,
       .help = "pixels of a side, for which the tokenizer's positions are resized; 0: its own",
       .range = kSide},
      {.name = "width", .value = &o.width, .help = "of a token", .range = kFrom1},
      {.name = "depth", .value = &o.depth, .help = "blocks", .range = kFrom1},
      {.name = "heads",
       .value = &o.heads,
       .help = "of attention, divide the width; 0: the width over 64",
       .range = kFrom0},
  };
}

void resolve(DecoderChoice& o) {
  check_ranges(describe(o), "decode");
  if (o.heads == 0) o.heads = std::max<int64_t>(1, o.width / 64);
  require(o.width % o.heads == 0, "decode: expected heads that divide the width, got {} heads at width {}; set --heads",
          o.heads, o.width);
}

OptionList describe(LoadOptions& o) {
  return {
      {.name = "image-size",
       .value = &o.image_size,
       .help = "pixels of a side, for which positions are resized; 0: the file's own",
       .range = kSide},
      {.name = "heads",
       .value = &o.heads,
       .help = "of attention, where the file does not tell; 0: the width over 64, 16 at widths 544 and 1280",
       .range = kFrom0},
      {.name = "input-form",
       .value = &o.input_form,
       .help = "how a tokenizer standardises pixels, where the file does not tell: default is 2x-1",
       .choices = {"default", "imagenet_norm"}},
  };
}

OptionList describe(DataOptions& o) {
  return {
      {.name = "data",
       .value = &o.data,
       .help = "folder or list of images, tar file, pattern a-{000..012}.tar; again for several"},
      {.name = "data-weight",
       .value = &o.data_weight,
       .help = "share of an epoch that its --data gives, again for each --data; none: every image once an epoch",
       .value_name = "X"},
      {.name = "val-data", .value = &o.val_data, .help = "as --data, to measure on"},
      {.name = "shuffle",
       .value = &o.shuffle,
       .help = "full: all images; shards: tar files in random order, read forward, mixed within a window",
       .choices = {"full", "shards"}},
      {.name = "shuffle-window",
       .value = &o.shuffle_window,
       .help = "images that --shuffle shards mixes",
       .range = {.least = 1}},
      {.name = "workers",
       .value = &o.workers,
       .help = "threads that decode images",
       .range = {.least = 1, .most = 1024}},
      {.name = "min-crop",
       .value = &o.min_crop,
       .help = "smallest share of the area that a random crop keeps; 1: no crop",
       .range = {.least = 0, .most = 1, .without_least = true}},
      {.name = "color-jitter",
       .value = &o.color_jitter,
       .help = "strength of brightness, contrast, saturation in pre-training; 0: none",
       .range = kFrom0},
      {.name = "decode",
       .value = &o.decode,
       .help = "JPEG for random crops: fast takes the part and scale that a crop needs, exact all pixels, as Pillow",
       .choices = {"fast", "exact"}},
      {.name = "max-damaged",
       .value = &o.max_damaged,
       .help = "largest share of images that cannot be read and are replaced; above it training stops",
       .range = {.least = 0, .most = 1}},
      {.name = "apply-orientation",
       .value = &o.apply_orientation,
       .help = "turn images upright as their Exif data says; the published pipeline does not"},
  };
}

OptionList describe(AugmentOptions& o) {
  return {
      {.name = "rand-augment",
       .value = &o.rand_augment,
       .help = "RandAugment of fine-tuning in timm's words: m, n, mstd, inc, p; none: off",
       .value_name = "TEXT"},
      {.name = "random-erasing",
       .value = &o.random_erasing,
       .help = "probability that fine-tuning fills a part of an image with noise",
       .range = {.least = 0, .most = 1}},
      {.name = "erasing-count",
       .value = &o.erasing_count,
       .help = "parts that random erasing fills",
       .range = {.least = 1, .most = 100}},
  };
}

OptionList describe(MixOptions& o) {
  return {
      {.name = "mixup", .value = &o.mixup, .help = "alpha of Beta(alpha, alpha); 0: none", .range = kFrom0},
      {.name = "cutmix", .value = &o.cutmix, .help = "alpha of Beta(alpha, alpha); 0: none", .range = kFrom0},
      {.name = "mix-probability",
       .value = &o.mix_probability,
       .help = "that a batch is mixed",
       .range = {.least = 0, .most = 1}},
      {.name = "cutmix-probability",
       .value = &o.cutmix_probability,
       .help = "that a mixed batch is mixed by cutmix, where mixup is on too",
       .range = {.least = 0, .most = 1}},
      {.name = "label-smoothing",
       .value = &o.label_smoothing,
       .help = "share of a target that is spread over all classes",
       .range = kShare},
  };
}

OptionList describe(StartOptions& o) {
  return {
      {.name = "weights",
       .value = &o.weights,
       .help = "weights of BEiT v2, ours or published, or run folder, whose backbone is the start; none: from scratch",
       .value_name = "FILE|RUN"},
      {.name = "layer-decay",
       .value = &o.layer_decay,
       .help = "learning rate of a block over that of the next; 1: the same for all",
       .range = {.least = 0, .most = 1, .without_least = true}},
      {.name = "layer-scale",
       .value = &o.layer_scale,
       .help = "initial value, where there are no --weights; 0: none",
       .range = kFrom0},
  };
}

OptionList describe(SegmenterChoice& o) {
  return {
      {.name = "channels",
       .value = &o.channels,
       .help = "of the UPerNet head; 0: the backbone's width",
       .range = {.least = 0, .most = 65536}},
      {.name = "auxiliary-channels",
       .value = &o.auxiliary_channels,
       .help = "of the auxiliary head",
       .range = {.least = 1, .most = 65536}},
      {.name = "auxiliary-weight", .value = &o.auxiliary_weight, .help = "of the auxiliary loss", .range = kFrom0},
      {.name = "head-dropout",
       .value = &o.dropout,
       .help = "share of the heads' channels that is left out in training",
       .range = kShare},
  };
}

OptionList describe(LabelOptions& o) {
  return {
      {.name = "labels",
       .value = &o.labels,
       .help = "folder of label maps (PNG), named as the images of --data; again for each --data"},
      {.name = "val-labels", .value = &o.val_labels, .help = "the same for --val-data"},
      {.name = "classes",
       .value = &o.classes,
       .help = "file with the classes' names, one a line, from 0 on; or their number",
       .value_name = "FILE|N"},
      {.name = "reduce-zero-label",
       .value = &o.reduce_zero_label,
       .help = "as ADE20K: pixels of label 0 are of no class, the other labels are one less"},
      {.name = "ignore-label",
       .value = &o.ignore_label,
       .help = "pixels of this label, after the reduction, are of no class, as those of 255",
       .range = {.least = 0, .most = 255}},
  };
}

OptionList describe(WindowOptions& o) {
  return {
      {.name = "long-side",
       .value = &o.long_side,
       .help = "pixels; images are scaled to fit into --long-side and --short-side",
       .range = {.least = 1, .most = 65536}},
      {.name = "short-side", .value = &o.short_side, .help = "pixels", .range = {.least = 1, .most = 65536}},
      {.name = "stride",
       .value = &o.stride,
       .help = "pixels between two windows of the model's image size; 0: the whole image at once",
       .range = kSide},
      {.name = "flip", .value = &o.flip, .help = "the mean of an image's and its mirror image's scores"},
      {.name = "scale",
       .value = &o.scales,
       .help = "times both sides; again for several, of whose scores the mean is taken; none: 1",
       .value_name = "X"},
  };
}

OptionList describe(TrainOptions& o) {
  return {
      {.name = "output", .value = &o.output, .help = "run folder, created if need be", .value_name = "RUN"},
      {.name = "seed", .value = &o.seed, .help = "of everything random", .range = kFrom0},
      {.name = "epochs",
       .value = &o.epochs,
       .help = "passes over the data; the schedule's length. 0: as many as --steps takes",
       .range = {.least = 0, .most = 1e6}},
      {.name = "steps",
       .value = &o.steps,
       .help = "stop after so many optimizer steps; 0: after all epochs",
       .range = kFrom0},
      {.name = "batch-size",
       .value = &o.batch_size,
       .help = "images a step, of all ranks together",
       .range = {.least = 1, .most = 1e6}},
      {.name = "lr", .value = &o.lr, .help = "highest learning rate", .range = {.least = 0, .without_least = true}},
      {.name = "min-lr", .value = &o.min_lr, .help = "learning rate at the end", .range = kFrom0},
      {.name = "lr-schedule",
       .value = &o.lr_schedule,
       .help = "how the learning rate falls after the warm-up: half a cosine; or linearly, the warm-up within the fall",
       .choices = {"cosine", "linear"}},
      {.name = "warmup-epochs",
       .value = &o.warmup_epochs,
       .help = "epochs over which the learning rate rises",
       .range = {.least = 0, .most = 1e6}},
      {.name = "warmup-steps",
       .value = &o.warmup_steps,
       .help = "the same in steps; 0: --warmup-epochs",
       .range = kFrom0},
      {.name = "weight-decay", .value = &o.weight_decay, .help = "of AdamW", .range = kFrom0},
      {.name = "beta1", .value = &o.beta1, .help = "of AdamW", .range = kShare},
      {.name = "beta2", .value = &o.beta2, .help = "of AdamW", .range = kShare},
      {.name = "clip-grad",
       .value = &o.clip_grad,
       .help = "largest norm of all gradients; 0: not clipped",
       .range = kFrom0},
      {.name = "ema-decay",
       .value = &o.ema_decay,
       .help = "of the moving average of the weights, kept in model_ema.safetensors; 0: none",
       .range = kShare},
      {.name = "accumulate",
       .value = &o.accumulate,
       .help = "parts that a step's images are cut into: less memory, the same result",
       .range = {.least = 1, .most = 1e6}},
      {.name = "recompute",
       .value = &o.recompute,
       .help = "keep each block's input alone and compute the rest again in the backward pass: less memory, more time"},
      {.name = "precision",
       .value = &o.precision,
       .help = "of products and attention; codebook and norms stay float32. bf16: GPUs, CPUs with AMX or AVX512-BF16; "
               "fp16: GPUs",
       .choices = {"float32", "bf16", "fp16"}},
      {.name = "checkpoint-every",
       .value = &o.checkpoint_every,
       .help = "steps between checkpoints; 0: one epoch",
       .range = kFrom0},
      {.name = "keep-checkpoints",
       .value = &o.keep_checkpoints,
       .help = "newest checkpoints that are kept",
       .range = kFrom1},
      {.name = "keep-every",
       .value = &o.keep_every,
       .help = "checkpoints at multiples of so many steps stay for good; 0: none",
       .range = kFrom0},
      {.name = "retries",
       .value = &o.retries,
       .help = "of a step whose loss or gradients are not finite, with other random numbers; then the run stops",
       .range = kFrom0},
      {.name = "resume",
       .value = &o.resume,
       .help = "auto: go on where the run folder's last checkpoint stands; never: start anew; or a checkpoint",
       .value_name = "auto|never|PATH"},
      {.name = "log-every", .value = &o.log_every, .help = "steps between two lines of the log", .range = kFrom1},
      {.name = "val-every",
       .value = &o.val_every,
       .help = "epochs between two validations; the last is always done",
       .range = kFrom1},
      {.name = "events-every",
       .value = &o.events_every,
       .help = "steps between pictures and histograms for TensorBoard in RUN/events; 0: one epoch; -1: no events",
       .range = {.least = -1}},
  };
}

OptionList describe(RankOptions& o) {
  return {
      {.name = "ranks",
       .value = &o.ranks,
       .help = "processes on this machine that train together; torchrun, srun and mpirun start them themselves",
       .range = {.least = 1, .most = 1024}},
      {.name = "rank-timeout",
       .value = &o.rank_timeout,
       .help = "seconds after which a rank that hangs ends the others",
       .range = {.least = 1, .most = 86400}},
      {.name = "shard-optimizer",
       .value = &o.shard_optimizer,
       .help =
           "each rank keeps its part of the optimizer's state: less memory, the same result; when a rank is lost, the "
           "steps since the last checkpoint are too"},
  };
}

OptionList describe(RuntimeOptions& o) {
  return {
      {.name = "device", .value = &o.device, .help = "auto: a GPU if there is one", .choices = {"auto", "cpu", "cuda"}},
      {.name = "threads",
       .value = &o.threads,
       .help = "threads that compute; 0: all cores",
       .range = {.least = 0, .most = 1024}},
      {.name = "quiet", .value = &o.quiet, .help = "print warnings and errors only"},
  };
}

}  // namespace beit
