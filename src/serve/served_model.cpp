#include "serve/served_model.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "core/window_scores.h"
#include "data/png.h"
#include "data/resize.h"
#include "data/views.h"
#include "train/evaluation.h"
#include "train/segment.h"
#include "viz/html.h"
#include "viz/label_picture.h"

namespace beit {
namespace {

using Json = nlohmann::ordered_json;

ImageSize view_size(const ModelOptions& model) { return {model.image_size, model.image_size}; }

std::function<PreparedImage(EncodedImage&)> evaluation_views(const ModelOptions& model, const PixelScale& scale) {
  return [scale, size = view_size(model)](EncodedImage& image) {
    return PreparedImage{{evaluation_view(image, size, scale)}, image.size()};
  };
}

/// The evaluation views of a batch, [B, C, H, W] on the device.
torch::Tensor stacked(const std::vector<PreparedImage>& images, const torch::Device& device) {
  std::vector<torch::Tensor> views_CHW;
  for (const PreparedImage& image : images) views_CHW.push_back(image.views[0]);
  return torch::stack(views_CHW).to(device);
}

torch::Tensor on_cpu(const torch::Tensor& tensor, torch::ScalarType type) {
  return tensor.to(torch::kCPU, type).contiguous();
}

/// A row of `rows` for each image, as the tensor of that name.
void add_rows(std::vector<ImageTensors>& images, const std::string& name, const torch::Tensor& rows) {
  for (size_t i = 0; i < images.size(); ++i) images[i].emplace(name, rows[static_cast<int64_t>(i)].contiguous());
}

/// The part of the image, in its pixels, that the evaluation view shows.
Json seen_part(const ImageSize& image, const ImageSize& view) {
  const Cut cut = evaluation_cut(image, view);
  const double down = cut.region.height / static_cast<double>(cut.scaled.height);
  const double right = cut.region.width / static_cast<double>(cut.scaled.width);
  return {{"top", static_cast<double>(cut.window.top) * down},
          {"left", static_cast<double>(cut.window.left) * right},
          {"height", static_cast<double>(cut.window.height) * down},
          {"width", static_cast<double>(cut.window.width) * right}};
}

template <class Value>
Json rows_of_grid(const torch::Tensor& values, int64_t rows, int64_t columns) {
  Json grid = Json::array();
  const auto* value = values.const_data_ptr<Value>();
  for (int64_t row = 0; row < rows; ++row, value += columns) grid.push_back(std::vector<Value>(value, value + columns));
  return grid;
}

Json sizes_of(const ModelOptions& model) {
  const Grid grid = grid_of(model);
  return {{"width", model.width},           {"depth", model.depth},           {"heads", model.heads},
          {"image_size", model.image_size}, {"patch_size", model.patch_size}, {"grid", {grid.rows, grid.columns}}};
}

Json facts_of(std::string_view network, const ModelOptions& model) {
  Json facts{{"network", network}};
  facts.update(sizes_of(model));
  return facts;
}

std::string class_name(const std::vector<std::string>& names, int64_t number) {
  return names.empty() ? std::to_string(number) : names[static_cast<size_t>(number)];
}

}  // namespace

ServedModel served(LoadedTokenizer loaded) {
  const torch::Device device = loaded.model->parameters().front().device();
  ServedModel model{{loaded.model->encoder(), loaded.options, loaded.model->options().input}, {}};
  model.facts = facts_of("tokenizer", loaded.options);
  model.facts["codes"] = loaded.codebook.codes;
  Endpoint tokens{.name = "tokens"};
  tokens.prepare = evaluation_views(loaded.options, kUnitScale);
  tokens.compute = [tokenizer = loaded.model, device](const std::vector<PreparedImage>& images) mutable {
    std::vector<ImageTensors> made(images.size());
    add_rows(made, "codes", on_cpu(tokenizer->codes(stacked(images, device)), torch::kInt32));
    return made;
  };
  tokens.describe = [grid = grid_of(loaded.options), view = view_size(loaded.options)](const ImageSize& size,
                                                                                       const ImageTensors& tensors) {
    return Json{{"seen", seen_part(size, view)},
                {"codes", rows_of_grid<int32_t>(tensors.at("codes"), grid.rows, grid.columns)}};
  };
  model.endpoints.push_back(std::move(tokens));
  return model;
}

ServedModel served(LoadedClassifier loaded, int64_t top) {
  const torch::Device device = loaded.model->parameters().front().device();
  ServedModel model{{ViT(std::shared_ptr<ViTImpl>(loaded.model.ptr())), loaded.options, InputForm::kImagenetNorm}, {}};
  model.facts = facts_of("classifier", loaded.options);
  model.facts["classes"] = loaded.classes;
  if (!loaded.class_names.empty()) model.facts["class_names"] = loaded.class_names;
  Endpoint classify{.name = "classify"};
  classify.prepare = evaluation_views(loaded.options, kImagenetScale);
  classify.compute = [classifier = loaded.model, device](const std::vector<PreparedImage>& images) mutable {
    std::vector<ImageTensors> made(images.size());
    const auto logits_BK = classifier->forward(stacked(images, device));
    add_rows(made, "probabilities", on_cpu(logits_BK.to(torch::kFloat32).softmax(1), torch::kFloat32));
    return made;
  };
  classify.describe = [names = loaded.class_names, count = std::min(top, loaded.classes)](const ImageSize&,
                                                                                          const ImageTensors& tensors) {
    const auto [values_K, outputs_K] = tensors.at("probabilities").topk(count);
    Json classes = Json::array();
    for (int64_t k = 0; k < count; ++k) {
      const auto output = outputs_K[k].item<int64_t>();
      classes.push_back(
          {{"output", output}, {"class", class_name(names, output)}, {"probability", values_K[k].item<float>()}});
    }
    return Json{{"classes", std::move(classes)}};
  };
  model.endpoints.push_back(std::move(classify));
  return model;
}

ServedModel served(LoadedSegmenter loaded, const WindowOptions& windows) {
  // Scores are kept of every pixel of an image for every class, several times over: at most 1 GiB each time.
  constexpr int64_t kMostScores = int64_t{1} << 28;
  const torch::Device device = loaded.model->parameters().front().device();
  ServedModel model{{loaded.model->backbone(), loaded.options, InputForm::kImagenetNorm, /*has_norm=*/false}, {}};
  model.facts = facts_of("segmenter", loaded.options);
  model.facts["classes"] = loaded.classes;
  if (!loaded.class_names.empty()) model.facts["class_names"] = loaded.class_names;
  Endpoint segment{.name = "segment", .most_pixels = kMostScores / std::max<int64_t>(loaded.classes, 3)};
  segment.equal_shapes = false;
  segment.prepare = [windows, scales = scales_of(windows)](EncodedImage& image) {
    const ImageSize size = image.size();
    return PreparedImage{window_views(image.decode(), windows, scales), size};
  };
  segment.compute = [segmenter = loaded.model, windows, device](const std::vector<PreparedImage>& images) mutable {
    std::vector<ImageTensors> made;
    for (const PreparedImage& image : images) {
      std::vector<torch::Tensor> views_1Chw;
      for (const torch::Tensor& view_1Chw : image.views) views_1Chw.push_back(view_1Chw.to(device));
      const auto scores_1KHW = window_scores(segmenter, views_1Chw, image.size.height, image.size.width, windows);
      made.push_back({{"labels", on_cpu(scores_1KHW[0].argmax(0), torch::kUInt8)}});
    }
    return made;
  };
  segment.png = [](const ImageTensors& tensors) { return encode_png_indices(tensors.at("labels"), label_palette()); };
  segment.describe = [names = loaded.class_names, count = loaded.classes, png = segment.png](
                         const ImageSize&, const ImageTensors& tensors) {
    const auto& labels_HW = tensors.at("labels");
    std::vector<int64_t> pixels(static_cast<size_t>(count));
    const auto* label = labels_HW.const_data_ptr<uint8_t>();
    for (int64_t i = 0; i < labels_HW.numel(); ++i) ++pixels[label[i]];
    Json classes = Json::array();
    for (int64_t k = 0; k < count; ++k) {
      if (const int64_t there = pixels[static_cast<size_t>(k)]; there > 0) {
        classes.push_back({{"output", k}, {"class", class_name(names, k)}, {"pixels", there}});
      }
    }
    const auto file = png(tensors);
    return Json{{"classes", std::move(classes)},
                {"labels_png", base64({reinterpret_cast<const char*>(file.data()), file.size()})}};
  };
  model.endpoints.push_back(std::move(segment));
  return model;
}

ServedModel served(LoadedBackbone loaded) {
  ServedModel model{std::move(loaded), {}};
  model.facts = facts_of("backbone", model.backbone.options);
  return model;
}

Endpoint features_endpoint(const ModelOptions& model, const torch::Device& device, std::vector<std::string> names,
                           std::function<std::vector<torch::Tensor>(const torch::Tensor& images_BCHW)> of) {
  Endpoint features{.name = "features"};
  features.prepare = evaluation_views(model, kUnitScale);
  features.compute = [of = std::move(of), names = std::move(names),
                      device](const std::vector<PreparedImage>& images) mutable {
    std::vector<ImageTensors> made(images.size());
    const auto sets = of(stacked(images, device));
    for (size_t i = 0; i < sets.size(); ++i) add_rows(made, names[i], on_cpu(sets[i], torch::kFloat32));
    return made;
  };
  features.describe = [](const ImageSize&, const ImageTensors& tensors) {
    Json described = Json::object();
    for (const auto& [name, values] : tensors) {
      const auto* value = values.const_data_ptr<float>();
      described[name] = values.dim() == 2 ? rows_of_grid<float>(values, values.size(0), values.size(1))
                                          : Json(std::vector<float>(value, value + values.numel()));
    }
    return Json{{"features", std::move(described)}};
  };
  return features;
}

}  // namespace beit
