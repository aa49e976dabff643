// The start of a network with a new head: the backbone of a file of weights (paper, section 3.2), or initial values.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <string_view>

#include "base/config.h"
#include "core/vit_options.h"
#include "train/network_file.h"

namespace beit {

/// What a backbone starts from, and how it is built: relative positions have a table in each block; layer scale and
/// absolute positions are as in the file.
struct BackboneStart {
  std::optional<NetworkFile> file;  ///< none: initial values
  ViTOptions vit;
};

/// Opens `start.weights`, where there are any, for `model.image_size` (0: the size that they were trained at), and
/// resolves `model`, which may leave all sizes open (`model.model` empty: the file's, without a file base).
/// Error where the file has no backbone, or `model` states other sizes than the file.
BackboneStart open_start(const StartOptions& start, ModelOptions& model);

/// Where there are no weights, a layer decay below 1 holds the first blocks back: the log warns of it.
void warn_of_layer_decay(const StartOptions& start);

/// Fills the backbone whose names in `network` stand behind `prefix` ("" or "backbone.") with the file's: a shared bias
/// table goes into each block, and a tokenizer's patch embedding is rewritten for images in ImageNet's mean and
/// deviation. The final norm is filled where network and file have the same, that over patch tokens not from a
/// tokenizer. All else stays as it was. The log says what was assumed, and warns of weights that are not finite.
/// Error where the backbones do not fit; the network is then of no use.
void start_from(torch::nn::Module& network, std::string_view prefix, const NetworkFile& file);

}  // namespace beit
