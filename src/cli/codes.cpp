// `beit codes`: a picture of what codes mean, patches of different images side by side.
// Shape letters: B images of a batch, I images, N patches, K codes.
#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/runtime.h"
#include "data/image.h"
#include "data/resize.h"
#include "io/atomic_file.h"
#include "train/evaluation.h"
#include "train/models.h"
#include "train/progress.h"
#include "viz/picture.h"

namespace beit {
namespace {

struct Codes {
  std::string tokenizer, output;
  ExampleOptions shown;
  DataOptions data;
  LoadOptions load;
  RuntimeOptions runtime;
  int64_t batch_size = 64;

  OptionList options() {
    return join(
        {{{.name = "tokenizer",
           .value = &tokenizer,
           .help = "weights of a tokenizer, ours or published, or run folder of `beit vqkd`",
           .value_name = "FILE|RUN"},
          {.name = "output", .value = &output, .help = "PNG file for the picture", .value_name = "FILE"},
          {.name = "rows", .value = &shown.rows, .help = "codes to show, a row each, at most", .range = {.least = 1}},
          {.name = "columns", .value = &shown.columns, .help = "examples of a code, at most", .range = {.least = 1}},
          {.name = "batch-size", .value = &batch_size, .help = "images at a time", .range = {.least = 1, .most = 1e6}}},
         describe(load),
         pick(describe(data), {"data", "workers", "apply-orientation"}),
         describe(runtime)});
  }

  void run() {
    require(!tokenizer.empty(), "codes: expected a tokenizer, got none; set --tokenizer FILE or RUN");
    require(output.ends_with(".png"), "codes: expected a PNG file to draw to, got '{}'; set --output FILE.png", output);
    require_apart(output, tokenizer, data.data);
    require_writable(output);
    const Dataset images = open_images(data.data, "data");
    require_unread(output, images);

    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    LoadedTokenizer loaded = load_tokenizer(tokenizer, load);
    loaded.model->to(device);

    Loader loader(images, evaluation_transform(loaded.options), evaluation_loading(data, batch_size, OnDamage::kSkip));
    loader.start(/*epoch=*/0);
    std::vector<torch::Tensor> codes_BN, labels_B, indices_B;
    int64_t done = 0;
    Progress progress(0, images.size(), 1, !runtime.quiet);
    while (const auto batch = loader.next()) {
      codes_BN.push_back(loaded.model->codes(batch->views[0].to(device)).to(torch::kCPU, torch::kInt32));
      labels_B.push_back(batch->labels_B);
      indices_B.push_back(batch->indices_B);
      done += batch->labels_B.size(0);
      progress.show(done, "");
    }
    progress.clear();
    require(done > 0, "codes: expected images that can be read, got {} damaged ones", loader.damaged());

    const auto indices_I = torch::cat(indices_B);
    const auto rows = telling_codes(torch::cat(codes_BN), torch::cat(labels_B), loaded.codebook.codes, shown);
    const ImageSize size{loaded.options.image_size, loaded.options.image_size};
    const auto pixels_of = [&](int64_t image) {
      const auto index = indices_I[image].item<int64_t>();
      const auto bytes = images.read(index);
      return evaluation_pixels(EncodedImage(bytes, images.path(index), data.apply_orientation).decode(), size);
    };
    write_file_atomically(output, png_bytes(code_mosaic(rows, grid_of(loaded.options), pixels_of)));
    log().info("{} of {} codes, found in {} images; written to {}", rows.size(), loaded.codebook.codes, done, output);
  }
};

}  // namespace

Command codes_command() { return make_command<Codes>("codes", "Draw what codes mean: the patches that share a code"); }

}  // namespace beit
