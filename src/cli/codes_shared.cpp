// `beit codes shared`: what two images have in common, in codes.
// Shape letters: N patches, H and W pixels, C channels.
#include <array>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/runtime.h"
#include "io/atomic_file.h"
#include "train/code_atlas.h"
#include "train/models.h"
#include "viz/shared_codes.h"

namespace beit {
namespace {

struct CodesShared {
  std::string tokenizer, output;
  std::vector<std::string> image;
  SharedCodesOptions shown;
  DataOptions data;
  LoadOptions load;
  RuntimeOptions runtime;

  OptionList options() {
    return join({{{.name = "tokenizer",
                   .value = &tokenizer,
                   .help = "weights of a tokenizer, ours or published, or run folder of `beit vqkd`",
                   .value_name = "FILE|RUN"},
                  {.name = "image", .value = &image, .help = "image; again for the other", .value_name = "FILE"},
                  {.name = "output", .value = &output, .help = "PNG file for the picture", .value_name = "FILE"},
                  {.name = "rows",
                   .value = &shown.rows,
                   .help = "codes in the legend, at most: those that most patches have in both; 0: no legend",
                   .range = {.least = 0}},
                  {.name = "columns",
                   .value = &shown.columns,
                   .help = "patches of each image beside a code in the legend, at most",
                   .range = {.least = 1}}},
                 describe(load),
                 pick(describe(data), {"apply-orientation"}),
                 describe(runtime)});
  }

  void run() {
    require(!tokenizer.empty(), "codes shared: expected a tokenizer, got none; set --tokenizer FILE or RUN");
    require(image.size() == 2, "codes shared: expected two images, got {}; set --image FILE twice", image.size());
    require(output.ends_with(".png"), "codes shared: expected a PNG file to draw to, got '{}'; set --output FILE.png",
            output);
    require_apart(output, tokenizer, image);
    require_writable(output);
    const std::array<Dataset, 2> images{open_one_image(image[0], "image"), open_one_image(image[1], "image")};
    for (const Dataset& one : images) require_unread(output, one);

    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    LoadedTokenizer loaded = load_tokenizer(tokenizer, load);
    loaded.model->to(device);
    std::array<torch::Tensor, 2> views_HWC, codes_N;
    for (size_t i = 0; i < 2; ++i) {
      views_HWC[i] = evaluation_image(images[i], 0, loaded.options, data.apply_orientation);
      codes_N[i] = codes_of_view(loaded, views_HWC[i], device);
    }
    const SharedCodes shared = shared_codes(codes_N[0], codes_N[1]);
    write_file_atomically(output, png_bytes(shared_codes_picture(views_HWC, shared, grid_of(loaded.options), shown)));
    fmt::print("{} codes shared, of {} and {}; Jaccard index {:.4f}\n", shared.codes.size(), shared.held[0],
               shared.held[1], shared.jaccard());
    log().info("written to {}", output);
  }
};

}  // namespace

Command codes_shared_command() {
  return make_command<CodesShared>("codes shared", "Show which codes two images share, and print how many");
}

}  // namespace beit
