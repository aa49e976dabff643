// `beit decode images`: pictures of what a pixel decoder makes of images' codes.
// Shape letters: B images of a batch, M images, N patches.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/image_pass.h"
#include "cli/images.h"
#include "cli/runtime.h"
#include "core/image_quality.h"
#include "data/image_path.h"
#include "data/label_maps.h"
#include "io/atomic_file.h"
#include "io/mapped_file.h"
#include "io/safetensors.h"
#include "train/evaluation.h"
#include "train/models.h"
#include "train/progress.h"
#include "viz/tiles.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// What `beit tokenize` wrote.
struct CodeFile {
  torch::Tensor codes_MN;  ///< int32 or int64
  Grid grid;
  std::string tokenizer;  ///< tokenizer_identity(); empty where the file has none
};

/// "14x14", of the file's metadata; nothing for other text.
std::optional<Grid> grid_of_text(const std::string& text) {
  Grid grid;
  const char *begin = text.data(), *end = begin + text.size();
  const auto rows = std::from_chars(begin, end, grid.rows);
  if (rows.ec != std::errc() || rows.ptr == end || *rows.ptr != 'x') return std::nullopt;
  const auto columns = std::from_chars(rows.ptr + 1, end, grid.columns);
  return columns.ec == std::errc() && columns.ptr == end ? std::optional(grid) : std::nullopt;
}

CodeFile read_codes(const std::string& path, int64_t codes) {
  constexpr int64_t kMostSide = 64;  // patches: attention is between all pairs of them
  const TensorFile file = read_safetensors(path);
  const auto found = file.tensors.find("codes");
  const bool is_table = found != file.tensors.end() && found->second.dim() == 2 && found->second.numel() > 0 &&
                        (found->second.scalar_type() == torch::kInt32 || found->second.scalar_type() == torch::kInt64);
  require(is_table,
          "{}: expected codes as `beit tokenize` writes them, int32 [images, patches], got other tensors; `beit "
          "inspect` shows what a file holds",
          path);
  const auto text = [&](const char* key) {
    const auto entry = file.metadata.find(key);
    return entry == file.metadata.end() ? std::string() : entry->second;
  };
  const auto& codes_MN = found->second;
  const auto grid = grid_of_text(text("grid"));
  const auto is_side = [](int64_t side) { return side >= 1 && side <= kMostSide; };
  require(grid && is_side(grid->rows) && is_side(grid->columns) && grid->patches() == codes_MN.size(1),
          "{}: expected the grid of {} patches, of up to {} a side, in its metadata, got {}; write it by `beit "
          "tokenize`",
          path, codes_MN.size(1), kMostSide, printable(text("grid")));
  const int64_t least = codes_MN.min().item<int64_t>(), most = codes_MN.max().item<int64_t>();
  require(least >= 0 && most < codes, "{}: expected codes in [0, {}), got {} to {}; they are another tokenizer's", path,
          codes, least, most);
  return {codes_MN, *grid, text("tokenizer")};
}

struct DecodeImages {
  std::string weights, codes, output, tokenizer;
  DataOptions data;
  RuntimeOptions runtime;
  int64_t batch_size = 64;
  bool skip_damaged = false;

  OptionList options() {
    return join(
        {{{.name = "weights",
           .value = &weights,
           .help = "weights of a pixel decoder, or run folder of `beit decode`",
           .value_name = "FILE|RUN"},
          {.name = "output",
           .value = &output,
           .help = "folder for the pictures: PNG files, the image beside what its codes become",
           .value_name = "FOLDER"},
          {.name = "codes",
           .value = &codes,
           .help = "in place of --data: safetensors file that `beit tokenize` wrote, of whose rows pictures are made",
           .value_name = "FILE"},
          {.name = "tokenizer",
           .value = &tokenizer,
           .help = "the tokenizer that gives the codes of --data; none: where the decoder's training found it",
           .value_name = "FILE|RUN"},
          {.name = "skip-damaged", .value = &skip_damaged, .help = "leave out images that cannot be read"},
          {.name = "batch-size", .value = &batch_size, .help = "images at a time", .range = {.least = 1, .most = 1e6}}},
         pick(describe(data), {"data", "workers", "apply-orientation"}),
         describe(runtime)});
  }

  void run() {
    require(!weights.empty(), "decode images: expected a pixel decoder, got none; set --weights FILE or RUN");
    require(!output.empty() && !has_image_ending(output),
            "decode images: expected a folder for the pictures, got '{}'; set --output FOLDER", output);
    require(data.data.empty() != codes.empty(), "decode images: expected --data PATH or --codes FILE, got {}; set one",
            codes.empty() ? "neither" : "both");
    require(codes.empty() || tokenizer.empty(),
            "decode images: expected a tokenizer for --data alone, got one for --codes; leave --tokenizer out");
    require(codes.empty() || !skip_damaged,
            "decode images: expected --skip-damaged for --data alone, got it for --codes; leave it out");
    const torch::NoGradGuard no_grad;
    const torch::Device device = apply(runtime);
    LoadedPixelDecoder decoder = load_pixel_decoder(weights);
    decoder.model->to(device);
    if (codes.empty()) {
      decode_images(decoder, device);
    } else {
      decode_codes(decoder, device);
    }
  }

  void decode_images(LoadedPixelDecoder& decoder, const torch::Device& device) const {
    require_folder_apart(output, data.data);
    LoadedTokenizer loaded = open_tokenizer(decoder);
    loaded.model->to(device);
    const Dataset images = open_images(data.data, "data");
    const std::vector<fs::path> sources(data.data.begin(), data.data.end());
    const auto names = label_paths(images, sources, /*one_place=*/true);

    auto sums = torch::zeros({5}, torch::kFloat64);  // as of ImageQuality
    const auto take = [&](const Batch& batch) {
      const auto& images_BCHW = batch.views[0];
      const auto decoded_BCHW = decoder.model->reconstruct(loaded.model->codes(images_BCHW));
      sums += image_quality(decoded_BCHW, images_BCHW).sums();
      const auto views_BCHW = images_BCHW.to(torch::kCPU), pictures_BCHW = decoded_BCHW.to(torch::kCPU);
      for (int64_t row = 0; row < pictures_BCHW.size(0); ++row) {
        const fs::path path = fs::path(output) / names[static_cast<size_t>(batch.indices_B[row].item<int64_t>())];
        require_unread(path, images);
        write(path, {views_BCHW.narrow(0, row, 1), pictures_BCHW.narrow(0, row, 1)});
      }
    };
    const Passed passed = each_batch(images, evaluation_transform(loaded.options),
                                     {.command = "decode images",
                                      .data = data,
                                      .batch_size = batch_size,
                                      .skip_damaged = skip_damaged,
                                      .device = device,
                                      .quiet = runtime.quiet},
                                     take);
    const MeanQuality mean = mean_quality(sums);
    log().info("{} images decoded: mean absolute difference {:.4f}, PSNR {:.2f} dB, SSIM {:.3f}; written to {}",
               passed.images, mean.absolute, mean.psnr, mean.ssim, output);
  }

  void decode_codes(LoadedPixelDecoder& decoder, const torch::Device& device) const {
    const CodeFile file = read_codes(codes, decoder.model->options().codes);
    require_same(decoder, file.tokenizer, codes);
    const int64_t images = file.codes_MN.size(0);
    Progress progress(0, images, 1, !runtime.quiet);
    for (int64_t begin = 0; begin < images; begin += batch_size) {
      const auto ids_BN = file.codes_MN.slice(0, begin, std::min(images, begin + batch_size));
      const auto pictures_BCHW =
          decoder.model->reconstruct(ids_BN.to(device, torch::kInt64), file.grid).to(torch::kCPU);
      for (int64_t row = 0; row < pictures_BCHW.size(0); ++row) {
        write(fs::path(output) / fmt::format("{:06}.png", begin + row), {pictures_BCHW.narrow(0, row, 1)});
        progress.show(begin + row + 1, "");
      }
    }
    progress.clear();
    log().info("codes of {} images decoded; written to {}", images, output);
  }

  LoadedTokenizer open_tokenizer(const LoadedPixelDecoder& decoder) const {
    const std::string& path = tokenizer.empty() ? decoder.choice.tokenizer : tokenizer;
    std::error_code ignored;
    require(!path.empty() && (!tokenizer.empty() || fs::exists(path, ignored)),
            "{}: expected the tokenizer that it was trained with, {}, got nothing there; say where it is: --tokenizer "
            "FILE or RUN",
            weights, path.empty() ? "which it does not name" : on_one_line(path));
    LoadedTokenizer loaded = load_tokenizer(path, {.image_size = decoder.choice.image_size});
    require_same(decoder, tokenizer_identity(loaded.model), path);
    return loaded;
  }

  /// A decoder makes nothing sensible of another tokenizer's codes. What tells of neither is taken at its word.
  void require_same(const LoadedPixelDecoder& decoder, const std::string& identity, const std::string& path) const {
    require(identity.empty() || decoder.tokenizer.empty() || identity == decoder.tokenizer,
            "{}: expected the tokenizer that {} was trained with, {}, got {}; use that one, or train a decoder for "
            "this one: `beit decode --tokenizer`",
            path, weights, on_one_line(decoder.tokenizer), on_one_line(identity));
  }

  static void write(const fs::path& path, const std::vector<torch::Tensor>& views_1CHW) {
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    require(!error, "{}: expected a folder to write to, got: {}", path.parent_path().string(), error.message());
    write_file_atomically(path, png_bytes(side_by_side(views_1CHW)));
  }
};

}  // namespace

Command decode_images_command() {
  return make_command<DecodeImages>("decode images", "Draw what a pixel decoder makes of images' codes");
}

}  // namespace beit
