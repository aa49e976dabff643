// `beit codes`: pictures of what codes mean, patches of different images side by side.
// Shape letters: B images of a batch, I images, N patches, K codes.
#include <algorithm>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/codes_folder.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/number_list.h"
#include "cli/runtime.h"
#include "data/image_path.h"
#include "io/atomic_file.h"
#include "io/output_folder.h"
#include "train/code_atlas.h"
#include "train/models.h"
#include "viz/picture.h"

namespace beit {
namespace {

/// The codes of all images that can be read, row by row: 784 bytes of an image of 14 x 14 patches.
class CodesOfImages {
 public:
  CodesOfImages(int64_t images, const Grid& grid)
      : codes_IN_(torch::empty({images, grid.patches()}, torch::kInt32)),
        labels_I_(torch::empty({images}, torch::kInt64)),
        indices_I_(torch::empty({images}, torch::kInt64)) {}

  void add(const Batch& batch, const NearestCodes& found) {
    const int64_t more = batch.indices_B.size(0);
    codes_IN_.narrow(0, images_, more).copy_(found.ids_BN);
    labels_I_.narrow(0, images_, more).copy_(batch.labels_B);
    indices_I_.narrow(0, images_, more).copy_(batch.indices_B);
    images_ += more;
  }

  torch::Tensor codes_IN() const { return codes_IN_.narrow(0, 0, images_); }
  torch::Tensor labels_I() const { return labels_I_.narrow(0, 0, images_); }
  int64_t index(int64_t image) const { return indices_I_[image].item<int64_t>(); }

 private:
  torch::Tensor codes_IN_, labels_I_, indices_I_;
  int64_t images_ = 0;
};

std::vector<int64_t> used_most_first(const torch::Tensor& uses_K) {
  std::vector<int64_t> codes(static_cast<size_t>(uses_K.gt(0).sum().item<int64_t>()));
  const auto order_K = std::get<1>(uses_K.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = order_K[static_cast<int64_t>(i)].item<int64_t>();
  return codes;
}

struct Codes {
  std::string tokenizer, output;
  std::vector<std::string> code;
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
          {.name = "output",
           .value = &output,
           .help = "PNG file for one picture; or folder for a picture of each code, an overview and a table of all",
           .value_name = "FILE|FOLDER"},
          {.name = "code",
           .value = &code,
           .help = "code to show, from 0, again for several; none: the most telling",
           .value_name = "N"},
          {.name = "rows",
           .value = &shown.rows,
           .help = "most telling codes to show, at most; 0, for a folder: all that are used",
           .range = {.least = 0}},
          {.name = "columns", .value = &shown.columns, .help = "examples of a code, at most", .range = {.least = 1}},
          {.name = "batch-size", .value = &batch_size, .help = "images at a time", .range = {.least = 1, .most = 1e6}}},
         describe(load),
         pick(describe(data), {"data", "workers", "apply-orientation"}),
         describe(runtime)});
  }

  void run() {
    require(!tokenizer.empty(), "codes: expected a tokenizer, got none; set --tokenizer FILE or RUN");
    const bool one_picture = output.ends_with(".png");
    require(one_picture || (!output.empty() && !has_image_ending(output)),
            "codes: expected a PNG file or a folder to draw to, got '{}'; set --output FILE.png or FOLDER", output);
    require(!one_picture || !code.empty() || shown.rows > 0,
            "codes: expected at least one code for one picture, got --rows 0; set --output FOLDER for all codes");
    require_apart(output, tokenizer, data.data);
    if (one_picture) {
      require_writable(output);
    } else {
      require_folder_apart(output, data.data);
    }
    const Dataset images = open_images(data.data, "data");
    if (one_picture) require_unread(output, images);

    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    LoadedTokenizer loaded = load_tokenizer(tokenizer, load);
    loaded.model->to(device);
    const std::vector<int64_t> named = named_codes(loaded.codebook.codes);
    if (one_picture) {
      draw_picture(loaded, images, named, device);
    } else {
      draw_folder(loaded, images, named, device);
    }
  }

  /// Of --code, each once.
  std::vector<int64_t> named_codes(int64_t codes) const {
    std::vector<int64_t> named;
    for (const int64_t one : whole_numbers(code, "code", {.least = 0, .most = static_cast<double>(codes - 1)})) {
      if (std::ranges::count(named, one) == 0) named.push_back(one);
    }
    return named;
  }

  /// Examples spread over the data: what a code stands for, near to it or not.
  void draw_picture(const LoadedTokenizer& loaded, const Dataset& images, const std::vector<int64_t>& named,
                    const torch::Device& device) const {
    CodesOfImages all(images.size(), grid_of(loaded.options));
    const int64_t done =
        each_batch_of_codes(loaded, images, data, batch_size, device, runtime.quiet,
                            [&](const Batch& batch, const NearestCodes& found) { all.add(batch, found); });
    const int64_t codes = loaded.codebook.codes;
    const auto rows = named.empty() ? telling_codes(all.codes_IN(), all.labels_I(), codes, shown)
                                    : spread_examples(all.codes_IN(), named, codes, shown.columns);
    const auto pixels_of = [&](int64_t image) {
      return evaluation_image(images, all.index(image), loaded.options, data.apply_orientation);
    };
    write_file_atomically(output, png_bytes(code_mosaic(rows, grid_of(loaded.options), pixels_of)));
    log().info("{} of {} codes, found in {} images; written to {}", rows.size(), codes, done, output);
  }

  /// The examples nearest to each code.
  void draw_folder(const LoadedTokenizer& loaded, const Dataset& images, const std::vector<int64_t>& named,
                   const torch::Device& device) const {
    const OutputFolder folder(output);
    const bool telling = named.empty() && shown.rows > 0;
    AtlasBuilder builder(loaded.codebook.codes, grid_of(loaded.options), shown.columns);
    CodesOfImages all(telling ? images.size() : 0, grid_of(loaded.options));
    each_batch_of_codes(loaded, images, data, batch_size, device, runtime.quiet,
                        [&](const Batch& batch, const NearestCodes& found) {
                          builder.add(batch.indices_B, found.ids_BN, found.similarity_BN);
                          if (telling) all.add(batch, found);
                        });
    const CodeAtlas atlas = builder.finish();
    std::vector<int64_t> chosen = named;
    if (telling) {
      for (const CodeExamples& row : telling_codes(all.codes_IN(), all.labels_I(), loaded.codebook.codes, shown))
        chosen.push_back(row.code);
    } else if (named.empty()) {
      chosen = used_most_first(atlas.uses_K);
    }
    write_code_folder(folder, atlas, chosen, images, loaded.options, data, runtime.quiet);
    log().info("{} of {} codes drawn, {} used in {} images; written to {}", chosen.size(), loaded.codebook.codes,
               atlas.uses_K.gt(0).sum().item<int64_t>(), atlas.images, output);
  }
};

}  // namespace

Command codes_command() { return make_command<Codes>("codes", "Draw what codes mean: the patches that share a code"); }

}  // namespace beit
