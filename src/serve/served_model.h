// What a network can be asked for over HTTP: from an image's pixels to tensors, and from these to JSON.
// Shape letters: B images of a batch, C channels, N patches, K classes or codes, H and W pixels.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/config.h"
#include "data/encoded_image.h"
#include "io/safetensors.h"
#include "train/models.h"

namespace beit {

/// An image as the network takes it, made by the thread of its request.
struct PreparedImage {
  std::vector<torch::Tensor> views;       ///< float32 on the CPU
  ImageSize size;                         ///< of the image
  std::shared_ptr<const void> held = {};  ///< kept until the image is done with, though nobody waits any more
};

/// What is computed of an image, on the CPU, contiguous.
using ImageTensors = TensorMap;

/// `POST /v1/NAME`.
struct Endpoint {
  std::string name;
  int64_t most_pixels = kMostPixels;  ///< of an image, whatever the server's own limit

  /// From any thread; computes by that thread alone.
  std::function<PreparedImage(EncodedImage& image)> prepare = {};
  /// From one thread at a time, without gradients: for each image its tensors, under the same names.
  std::function<std::vector<ImageTensors>(const std::vector<PreparedImage>& images)> compute = {};
  /// What JSON says of an image. From any thread, as is `png`.
  std::function<nlohmann::ordered_json(const ImageSize& size, const ImageTensors& tensors)> describe = {};

  bool equal_shapes = true;  ///< the tensors have one shape for all images and can be stacked
  /// An image's tensors as a PNG file; none where they are no picture.
  std::function<std::vector<uint8_t>(const ImageTensors& tensors)> png = {};
};

/// A network that is served. Its functions share the network and must not be called from two threads at once where
/// Endpoint does not say otherwise.
struct ServedModel {
  LoadedBackbone backbone;  ///< of it, for features
  std::vector<Endpoint> endpoints;
  nlohmann::ordered_json facts = {};  ///< of `GET /v1/model`: network, sizes, classes
};

// The network must be on its device.

/// `tokens`: `codes`, int32 [N], in JSON as rows of the grid, beside the part of the image that the network saw.
ServedModel served(LoadedTokenizer loaded);
/// `classify`: `probabilities`, float32 [K]; in JSON the `top` most likely.
ServedModel served(LoadedClassifier loaded, int64_t top);
/// `segment`: `labels`, uint8 [H, W], at the image's own size; as PNG with a palette.
ServedModel served(LoadedSegmenter loaded, const WindowOptions& windows);
/// Nothing but features.
ServedModel served(LoadedBackbone loaded);

/// `features`: what `of` makes of images [B, C, H, W] in [0, 1], one tensor for each of `names`; float32.
Endpoint features_endpoint(const ModelOptions& model, const torch::Device& device, std::vector<std::string> names,
                           std::function<std::vector<torch::Tensor>(const torch::Tensor& images_BCHW)> of);

}  // namespace beit
