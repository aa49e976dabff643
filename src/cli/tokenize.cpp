// `beit tokenize`: images to visual tokens.
// Shape letters: B images of a batch, M images, N patches.
#include <string>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/image_pass.h"
#include "cli/image_rows.h"
#include "cli/images.h"
#include "cli/run_config.h"
#include "cli/runtime.h"
#include "io/atomic_file.h"
#include "train/evaluation.h"
#include "train/models.h"
#include "train/progress.h"

namespace beit {
namespace {

void print_codes(const std::string& path, const torch::Tensor& codes_N, const Grid& grid, int64_t codes) {
  const auto digits = fmt::formatted_size("{}", codes - 1);
  fmt::print("{}\n", path);
  const auto* code = codes_N.const_data_ptr<int32_t>();
  for (int64_t row = 0; row < grid.rows; ++row) {
    for (int64_t column = 0; column < grid.columns; ++column) fmt::print(" {:>{}}", *code++, digits);
    fmt::print("\n");
  }
}

struct Tokenize {
  std::string tokenizer, output;
  DataOptions data;
  LoadOptions load;
  RuntimeOptions runtime;
  int64_t batch_size = 64;
  bool print = false, skip_damaged = false;

  OptionList options() {
    return join(
        {{{.name = "tokenizer",
           .value = &tokenizer,
           .help = "weights of a tokenizer, ours or published, or run folder of `beit vqkd`",
           .value_name = "FILE|RUN"},
          {.name = "output",
           .value = &output,
           .help = "safetensors file for the codes and paths",
           .value_name = "FILE"},
          {.name = "print", .value = &print, .help = "print each image's grid of codes"},
          {.name = "skip-damaged", .value = &skip_damaged, .help = "leave out images that cannot be read"},
          {.name = "batch-size", .value = &batch_size, .help = "images at a time", .range = {.least = 1, .most = 1e6}}},
         describe(load),
         pick(describe(data), {"data", "workers", "apply-orientation"}),
         describe(runtime)});
  }

  void run() {
    require(!tokenizer.empty(), "tokenize: expected a tokenizer, got none; set --tokenizer FILE or RUN");
    require(!data.data.empty(), "tokenize: expected images, got none; set --data PATH");
    require(!output.empty() || print, "tokenize: expected somewhere for the codes to go; set --output FILE or --print");
    if (!output.empty()) {
      require_apart(output, tokenizer, data.data);
      require_writable(output);
    }

    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    LoadedTokenizer loaded = load_tokenizer(tokenizer, load);
    loaded.model->to(device);
    loaded.model->quantizer()->reset_usage();
    const Grid grid = grid_of(loaded.options);

    const auto images = open_images(data.data, "data");
    if (!output.empty()) require_unread(output, images);
    if (!output.empty()) {
      require_fitting_paths(images, images.size() * grid.patches() * static_cast<int64_t>(sizeof(int32_t)), "tokenize");
    }
    auto codes_MN = torch::empty({output.empty() ? 0 : images.size(), grid.patches()}, torch::kInt32);
    std::vector<std::string> paths;
    int64_t done = 0;
    const auto take = [&](const Batch& batch) {
      const auto codes_BN = loaded.model->codes(batch.views[0]).to(torch::kCPU, torch::kInt32);
      const int64_t rows = codes_BN.size(0);
      if (!output.empty()) codes_MN.slice(0, done, done + rows).copy_(codes_BN);
      for (int64_t row = 0; row < rows; ++row) {
        const std::string& path = images.path(batch.indices_B[row].item<int64_t>());
        if (!output.empty()) paths.push_back(path);
        if (print) print_codes(path, codes_BN[row], grid, loaded.codebook.codes);
      }
      done += rows;
    };
    const Passed passed = each_batch(images, evaluation_transform(loaded.options),
                                     {.command = "tokenize",
                                      .data = data,
                                      .batch_size = batch_size,
                                      .skip_damaged = skip_damaged,
                                      .device = device,
                                      .quiet = runtime.quiet || print},
                                     take);
    if (!output.empty()) write(codes_MN.slice(0, 0, done), paths, grid, tokenizer_identity(loaded.model));
    summarize(passed, code_usage(loaded.model->quantizer()->counts()), loaded.codebook.codes);
  }

  void write(const torch::Tensor& codes_MN, const std::vector<std::string>& paths, const Grid& grid,
             const std::string& identity) {
    auto metadata = config_metadata("tokenize", options());
    metadata["paths"] = paths_metadata(paths);
    metadata["grid"] = fmt::format("{}x{}", grid.rows, grid.columns);
    metadata["tokenizer"] = identity;
    write_safetensors(output, {{"codes", codes_MN}}, metadata);
  }

  void summarize(const Passed& passed, const CodeUsage& usage, int64_t codes) const {
    log().info("{} images in {}, {:.1f} images/s; {:.1f}% of {} codes used, perplexity {:.1f}{}", passed.images,
               readable_seconds(static_cast<double>(passed.images) / passed.images_per_s), passed.images_per_s,
               usage.percent, codes, usage.perplexity, output.empty() ? "" : "; written to " + output);
  }
};

}  // namespace

Command tokenize_command() { return make_command<Tokenize>("tokenize", "Turn images into visual tokens"); }

}  // namespace beit
