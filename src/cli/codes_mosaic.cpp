// `beit codes mosaic`: an image of other images' patches, each of the code that stands there.
// Shape letters: B images of a batch, N patches, H and W pixels, C channels.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/runtime.h"
#include "data/augment.h"
#include "io/atomic_file.h"
#include "train/code_atlas.h"
#include "train/models.h"
#include "viz/tiles.h"

namespace beit {
namespace {

constexpr int64_t kMissing = 127;  // grey

/// The images of the data that are the same file to the byte.
std::set<int64_t> copies_of(const Dataset& image, const Dataset& images) {
  const auto bytes = image.read(0);
  std::set<int64_t> copies;
  for (int64_t index = 0; index < images.size(); ++index) {
    if (images.bytes(index) == std::ssize(bytes) && images.read(index) == bytes) copies.insert(index);
  }
  return copies;
}

torch::Tensor as_batch(const torch::Tensor& pixels_HWC) { return to_float(pixels_HWC).unsqueeze(0); }

struct CodesMosaic {
  std::string tokenizer, image, output;
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
          {.name = "image", .value = &image, .help = "image to make anew of --data's patches", .value_name = "FILE"},
          {.name = "output",
           .value = &output,
           .help = "PNG file for the image and what was made, side by side",
           .value_name = "FILE"},
          {.name = "batch-size", .value = &batch_size, .help = "images at a time", .range = {.least = 1, .most = 1e6}}},
         describe(load),
         pick(describe(data), {"data", "workers", "apply-orientation"}),
         describe(runtime)});
  }

  void run() {
    require(!tokenizer.empty(), "codes mosaic: expected a tokenizer, got none; set --tokenizer FILE or RUN");
    require(!image.empty(), "codes mosaic: expected an image, got none; set --image FILE");
    require(output.ends_with(".png"), "codes mosaic: expected a PNG file to draw to, got '{}'; set --output FILE.png",
            output);
    std::vector<std::string> inputs = data.data;
    inputs.push_back(image);
    require_apart(output, tokenizer, inputs);
    require_writable(output);
    const Dataset one = open_one_image(image, "image"), images = open_images(data.data, "data");
    require_unread(output, one);
    require_unread(output, images);

    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    LoadedTokenizer loaded = load_tokenizer(tokenizer, load);
    loaded.model->to(device);
    const auto view_HWC = evaluation_image(one, 0, loaded.options, data.apply_orientation);
    const auto codes_N = codes_of_view(loaded, view_HWC, device);

    const CodeAtlas atlas = atlas_without(copies_of(one, images), loaded, images, device);
    const auto [made_HWC, patches] = make(codes_N, atlas, images, loaded.options);
    write_file_atomically(output, png_bytes(side_by_side({as_batch(view_HWC), as_batch(made_HWC)})));
    log().info("{} of {} patches made of those in {} images; written to {}", patches, codes_N.size(0), atlas.images,
               output);
  }

  /// Of each code the nearest patch in other images than these.
  CodeAtlas atlas_without(const std::set<int64_t>& copies, const LoadedTokenizer& loaded, const Dataset& images,
                          const torch::Device& device) const {
    AtlasBuilder builder(loaded.codebook.codes, grid_of(loaded.options), /*examples=*/1);
    each_batch_of_codes(loaded, images, data, batch_size, device, runtime.quiet,
                        [&](const Batch& batch, const NearestCodes& found) {
                          std::vector<int64_t> others;  // rows
                          for (int64_t row = 0; row < batch.indices_B.size(0); ++row) {
                            if (!copies.contains(batch.indices_B[row].item<int64_t>())) others.push_back(row);
                          }
                          const auto rows = torch::tensor(others, torch::kInt64);
                          builder.add(batch.indices_B.index_select(0, rows), found.ids_BN.index_select(0, rows),
                                      found.similarity_BN.index_select(0, rows));
                        });
    CodeAtlas atlas = builder.finish();
    require(atlas.images > 0, "codes mosaic: expected other readable images than {} in --data, got none; give more",
            image);
    return atlas;
  }

  struct Made {
    torch::Tensor pixels_HWC;
    int64_t patches = 0;  ///< for which there was one
  };
  Made make(const torch::Tensor& codes_N, const CodeAtlas& atlas, const Dataset& images,
            const ModelOptions& model) const {
    std::map<int64_t, std::vector<int64_t>> patches_of;
    for (int64_t patch = 0; patch < codes_N.size(0); ++patch)
      patches_of[codes_N[patch].item<int64_t>()].push_back(patch);

    const Grid grid = grid_of(model);
    const int64_t side = model.patch_size;
    Made made{torch::full({model.image_size, model.image_size, 3}, kMissing, torch::kUInt8)};
    for (const auto& [code, patches] : patches_of) {
      const auto& examples = atlas.examples[static_cast<size_t>(code)];
      if (examples.empty()) continue;
      const auto part_HWC =
          patch_with_surroundings(images, examples.front().place, model, /*context=*/0, data.apply_orientation);
      for (const int64_t patch : patches) {
        const int64_t top = patch / grid.columns * side, left = patch % grid.columns * side;
        made.pixels_HWC.slice(0, top, top + side).slice(1, left, left + side).copy_(part_HWC);
        ++made.patches;
      }
    }
    return made;
  }
};

}  // namespace

Command codes_mosaic_command() {
  return make_command<CodesMosaic>("codes mosaic", "Make an image anew of other images' patches of the same codes");
}

}  // namespace beit
