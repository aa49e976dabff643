// `beit data dump`: what a model would see of the images.
// Shape letters: N images, P patches, H and W pixels.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/data_views.h"
#include "cli/images.h"
#include "cli/run_config.h"
#include "data/image.h"
#include "io/atomic_file.h"
#include "io/safetensors.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBatch = 16;
constexpr int64_t kMostBytes = int64_t{8} << 30;  // of a tensor; all are held in memory until they are written

/// float32 [3, H, W] back to pixels.
torch::Tensor pixels_of(const torch::Tensor& image_CHW, const PixelScale& scale) {
  const auto channel = [](const std::array<float, 3>& values) {
    return torch::tensor({values[0], values[1], values[2]}).view({3, 1, 1});
  };
  const auto unit_CHW = image_CHW * channel(scale.std) + channel(scale.mean);
  return unit_CHW.mul(255).round().clamp(0, 255).to(torch::kUInt8).permute({1, 2, 0}).contiguous();
}

/// Masked patches grey.
torch::Tensor masked_pixels(const torch::Tensor& pixels_HWC, const torch::Tensor& mask_P, int64_t patch_size) {
  const int64_t rows = pixels_HWC.size(0) / patch_size, columns = pixels_HWC.size(1) / patch_size;
  const auto mask_HW =
      mask_P.view({rows, columns}).repeat_interleave(patch_size, 0).repeat_interleave(patch_size, 1).unsqueeze(-1);
  return torch::where(mask_HW, torch::full({}, 127, torch::kUInt8), pixels_HWC).contiguous();
}

struct DataDump {
  ViewChoice views;
  std::string output, png;
  int64_t count = 0, epoch = 0;

  OptionList options() {
    return join(
        {{{.name = "output",
           .value = &output,
           .help = "safetensors file for the views, masks and paths",
           .value_name = "FILE"},
          {.name = "png",
           .value = &png,
           .help = "folder for the same as pictures, created if need be; masked patches grey",
           .value_name = "DIR"},
          {.name = "count", .value = &count, .help = "images, the first by path; 0: all", .range = {.least = 0}},
          {.name = "epoch", .value = &epoch, .help = "whose views they are, from 0", .range = {.least = 0}}},
         views.options()});
  }

  void run() {
    require(!output.empty() || !png.empty(),
            "data dump: expected somewhere for the views to go, got nowhere; set --output FILE or --png DIR");
    if (!output.empty()) {
      require_apart(output, "", views.data.data);
      require_writable(output);
    }
    if (!png.empty()) require_folder_apart(png, views.data.data);
    std::error_code failed;
    if (!png.empty()) fs::create_directories(png, failed);
    require(png.empty() || fs::is_directory(png),
            "{}: expected a folder for pictures, got \"{}\"; choose another --png", png, failed.message());

    const Dataset images = views.open();
    if (!output.empty()) require_unread(output, images);
    const int64_t wanted = count > 0 ? std::min(count, images.size()) : images.size();
    Loader loader = views.loader(images, std::min(kBatch, wanted), /*in_order=*/true);
    loader.start(epoch);
    TensorMap tensors;
    auto paths = nlohmann::json::array();
    for (int64_t done = 0; done < wanted;) {
      const auto batch = loader.next();
      require(batch.has_value(), "data dump: expected {} images, got {}", wanted, done);
      const int64_t rows = std::min(batch->indices_B.size(0), wanted - done);
      keep(*batch, done, rows, wanted, tensors);
      for (int64_t row = 0; row < rows; ++row) {
        paths.push_back(images.path(batch->indices_B[row].item<int64_t>()));
        if (!png.empty()) draw(*batch, row, done + row);
      }
      done += rows;
    }
    if (!output.empty()) {
      auto metadata = config_metadata("data dump", options());
      metadata["paths"] = paths.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      write_safetensors(output, tensors, metadata);
    }
    log().info("{} images{}{}{}", wanted,
               loader.damaged() > 0 ? fmt::format(", {} damaged and replaced", loader.damaged()) : "",
               output.empty() ? "" : "; written to " + output, png.empty() ? "" : "; drawn to " + png);
  }

  /// Into the rows from `done` on of tensors for all images.
  void keep(const Batch& batch, int64_t done, int64_t rows, int64_t wanted, TensorMap& tensors) const {
    if (output.empty()) return;
    const auto names = views.names();
    for (size_t i = 0; i < names.size(); ++i) {
      const torch::Tensor& view = batch.views[i];
      torch::Tensor& all = tensors[names[i]];
      if (!all.defined()) {
        auto shape = view.sizes().vec();
        shape[0] = wanted;
        const int64_t bytes = static_cast<int64_t>(view.nbytes()) / view.size(0) * wanted;
        require(bytes <= kMostBytes, "data dump: expected at most {} bytes of views, got {}; set --count", kMostBytes,
                bytes);
        all = torch::empty(shape, view.options());
      }
      all.slice(0, done, done + rows).copy_(view.slice(0, 0, rows));
    }
  }

  void draw(const Batch& batch, int64_t row, int64_t number) const {
    const auto names = views.names();
    torch::Tensor first_HWC;
    for (size_t i = 0; i < names.size(); ++i) {
      const auto view = batch.views[i][row];
      const auto pixels_HWC = names[i] == "mask" ? masked_pixels(first_HWC, view, views.patch_size)
                                                 : pixels_of(view, views.scale(names[i]));
      if (i == 0) first_HWC = pixels_HWC;
      write_file_atomically(fs::path(png) / fmt::format("{:06d}-{}.png", number, names[i]), png_bytes(pixels_HWC));
    }
  }
};

}  // namespace

Command data_dump_command() {
  return make_command<DataDump>("data dump", "Write what a model would see of the images");
}

}  // namespace beit
