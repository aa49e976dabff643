// The options of all commands: structs with defaults are the schema, and describe() is the one place that names them.
// Flags, TOML keys, --help, the resolved config.toml of a run and the configuration in a checkpoint all come from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/grid.h"
#include "base/option.h"

namespace beit {

/// The network. A named size gives width, depth, heads and patch size; each of them may be set alone.
struct ModelOptions {
  std::string model = "base";
  int64_t width = 0, depth = 0, heads = 0;  ///< 0: the named size's
  int64_t image_size = 224;                 ///< pixels; 0: 224
  int64_t patch_size = 0;                   ///< pixels; 0: the named size's, 14 for huge, else 16
  double drop_path = 0.0;
};
OptionList describe(ModelOptions&);
/// Fills in what the named size gives; Error where sizes do not fit. Resolved options stay as they are.
void resolve(ModelOptions&);
/// The named size with exactly these sizes, patch size aside; "base" where there is none.
std::string named_size(int64_t width, int64_t depth, int64_t heads);
/// Of resolved options.
Grid grid_of(const ModelOptions&);

/// The tokenizer beside the encoder that ModelOptions states.
struct CodebookOptions {
  int64_t codes = 8192;
  int64_t code_dim = 32;
  double code_decay = 0.99;
  double beta = 1.0;
  bool kmeans_start = true;
  double revive_threshold = 0.02;  ///< share of the mean use; 0: off, as published
  int64_t revive_every = 50;       ///< steps
  int64_t decoder_depth = 3;
  std::string input_form = "default";  ///< or imagenet_norm
};
OptionList describe(CodebookOptions&);

struct TeacherChoice {
  std::string teacher = "clip";
  std::string teacher_weights = {};
  int64_t teacher_image_size = 0;  ///< pixels; 0: the teacher's own
  std::string teacher_cache = {};  ///< file of features of a fixed view and its mirror image; none: computed each time
};
OptionList describe(TeacherChoice&);

/// Masked image modelling.
struct MimChoice {
  std::string tokenizer = {};        ///< file or run folder
  int64_t tokenizer_image_size = 0;  ///< pixels; 0: the tokenizer's own
  int64_t masked_patches = 0;        ///< 0: 75 of 196, or the same share of another grid
  int64_t min_mask_block = 16;       ///< patches of the smallest block
  bool cls_branch = true;
  int64_t early_layers = 0;  ///< 0: 9 of 12 blocks, 21 of 24, else three quarters
  int64_t head_layers = 2;
  bool shared_head = true;
  double layer_scale = 0.1;
};
OptionList describe(MimChoice&);
/// Fills in what follows from the network, which is resolved; Error where sizes do not fit.
void resolve(MimChoice&, const ModelOptions&);

/// The network that turns a tokenizer's codes into pixels.
struct DecoderChoice {
  std::string tokenizer = {};  ///< file or run folder
  int64_t image_size = 0;      ///< pixels; 0: the tokenizer's own
  int64_t width = 384, depth = 6;
  int64_t heads = 0;  ///< 0: the width over 64
};
OptionList describe(DecoderChoice&);
/// Fills in the heads; Error where sizes do not fit. Resolved options stay as they are.
void resolve(DecoderChoice&);

/// What a file of weights may leave open.
struct LoadOptions {
  int64_t image_size = 0;       ///< pixels that positions are resized for; 0: the file's own
  int64_t heads = 0;            ///< 0: what the file tells
  std::string input_form = {};  ///< of a tokenizer; none: what the file tells, else default
};
OptionList describe(LoadOptions&);

/// Where images come from and what is done to them.
struct DataOptions {
  std::vector<std::string> data = {};         ///< folders, lists, tar files, patterns
  std::vector<std::string> data_weight = {};  ///< a number for each of `data`; none: every image once an epoch
  std::vector<std::string> val_data = {};     ///< as `data`; for usage or accuracy after each epoch
  std::string shuffle = "full";               ///< or shards
  int64_t shuffle_window = 8192;              ///< images that a shuffle by shards mixes
  int64_t workers = 2;                        ///< threads that decode
  double min_crop = 0.2;           ///< smallest share of the area that a random crop keeps; 1: no random crop
  double color_jitter = 0.0;       ///< strength of brightness, contrast, saturation
  std::string decode = "fast";     ///< of random crops; or exact, as Pillow
  double max_damaged = 0.01;       ///< share of damaged samples above which training stops
  bool apply_orientation = false;  ///< turn images upright as their Exif data says
};
OptionList describe(DataOptions&);

/// What fine-tuning does to an image beside crop and mirror.
struct AugmentOptions {
  std::string rand_augment = "rand-m9-mstd0.5-inc1";  ///< timm's words; none: off
  double random_erasing = 0.25;                       ///< probability
  int64_t erasing_count = 1;                          ///< rectangles
};
OptionList describe(AugmentOptions&);

/// What mixes a batch, and how hard its targets are.
struct MixOptions {
  double mixup = 0.8;               ///< alpha; 0: none
  double cutmix = 1.0;              ///< alpha; 0: none
  double mix_probability = 1.0;     ///< that a batch is mixed
  double cutmix_probability = 0.5;  ///< of cutmix, where both are on
  double label_smoothing = 0.1;
};
OptionList describe(MixOptions&);

/// The trained backbone under a new head.
struct StartOptions {
  std::string weights = {};   ///< file or run folder; none: initial values
  double layer_decay = 0.65;  ///< the learning rate of each block over that of the next
  double layer_scale = 0.1;   ///< initial value where there are no weights; 0: none
};
OptionList describe(StartOptions&);

/// The heads of segmentation.
struct SegmenterChoice {
  int64_t channels = 0;  ///< of UPerNet; 0: the backbone's width
  int64_t auxiliary_channels = 256;
  double auxiliary_weight = 0.4;
  double dropout = 0.1;  ///< of both heads' channels, before their last layer
};
OptionList describe(SegmenterChoice&);

/// The label maps beside images.
struct LabelOptions {
  std::vector<std::string> labels = {};      ///< a folder for each of `data`
  std::vector<std::string> val_labels = {};  ///< a folder for each of `val_data`
  std::string classes = {};                  ///< file of names, one a line, or their number
  bool reduce_zero_label = false;            ///< 0 is ignored, the others are one less
  int64_t ignore_label = 255;                ///< beside 255, after the reduction
};
OptionList describe(LabelOptions&);

/// How large images are segmented.
struct WindowOptions {
  int64_t long_side = 2048;  ///< pixels; images are scaled to fit into both
  int64_t short_side = 512;
  int64_t stride = 341;                  ///< pixels between two windows of the model's size; 0: the whole image at once
  bool flip = false;                     ///< the mean with the mirror image
  std::vector<std::string> scales = {};  ///< of the sides; the mean over all; none: 1
};
OptionList describe(WindowOptions&);

/// How long and how fast to train.
struct TrainOptions {
  std::string output = {};  ///< run folder
  int64_t seed = 0;
  int64_t epochs = 100;      ///< 0: as many as `steps` take
  int64_t steps = 0;         ///< stop after so many steps; 0: after all epochs
  int64_t batch_size = 256;  ///< images of all ranks together
  double lr = 1.5e-3;
  double min_lr = 1e-5;
  std::string lr_schedule = "cosine";  ///< or linear
  int64_t warmup_epochs = 10;
  int64_t warmup_steps = 0;  ///< in place of warmup_epochs; 0: those
  double weight_decay = 0.05;
  double beta1 = 0.9, beta2 = 0.98;
  double clip_grad = 0.0;             ///< largest norm of all gradients; 0: not clipped
  double ema_decay = 0.0;             ///< of the moving average of the weights, in [0, 1); 0: none
  int64_t accumulate = 1;             ///< parts that a step's images are cut into
  bool recompute = false;             ///< of each block only the input is kept for the backward pass
  std::string precision = "float32";  ///< of products and attention; or bf16, fp16
  int64_t checkpoint_every = 0;       ///< steps; 0: each epoch
  int64_t keep_checkpoints = 2;
  int64_t keep_every = 0;       ///< steps; checkpoints of their multiples stay for good; 0: none
  int64_t retries = 3;          ///< of a step whose loss or gradients are not finite
  std::string resume = "auto";  ///< auto, never, or a checkpoint
  int64_t log_every = 10;       ///< steps
  int64_t val_every = 1;        ///< epochs
  int64_t events_every = 0;     ///< steps between pictures and histograms of TensorBoard; 0: one epoch; -1: no events
};
OptionList describe(TrainOptions&);

/// The processes that train together.
struct RankOptions {
  int64_t ranks = 1;             ///< started on this machine; torchrun, srun and mpirun start theirs themselves
  int64_t rank_timeout = 300;    ///< seconds
  bool shard_optimizer = false;  ///< each rank keeps a part of the optimizer's state
};
OptionList describe(RankOptions&);

/// The machine and the screen.
struct RuntimeOptions {
  std::string device = "auto";
  int64_t threads = 0;  ///< 0: all cores
  bool quiet = false;
};
OptionList describe(RuntimeOptions&);

}  // namespace beit
