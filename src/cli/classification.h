// What `beit eval` and `beit classify` share: a classifier that looks at every image of --data once.
// Shape letters: B images of a batch, C channels, K classes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/config.h"
#include "cli/image_pass.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "train/models.h"

namespace beit {

struct ClassificationOptions {
  std::string weights, class_names;
  bool flip = false, skip_damaged = false;
  int64_t batch_size = 64;
  DataOptions data;
  LoadOptions load;
  RuntimeOptions runtime;

  OptionList options();
};

class Classification {
 public:
  /// Checks where to write (empty paths aside), applies the runtime's options, opens model and images. Error, which
  /// starts with `command` where options are missing; with --class-names, unless the file has a name for each output.
  Classification(std::string_view command, const ClassificationOptions& options,
                 const std::vector<std::filesystem::path>& outputs);

  const Dataset& images() const { return images_; }
  int64_t classes() const { return loaded_.classes; }
  int64_t image_size() const { return loaded_.options.image_size; }
  /// Of the outputs in their order; empty where nobody names them.
  const std::vector<std::string>& class_names() const { return loaded_.class_names; }

  /// Images [B, C, H, W] on the device to the logarithms of probabilities [B, K] there; with --flip of the mean of an
  /// image's and its mirror image's probabilities. Where `outputs_K` is defined (int64, on the device), these alone
  /// compete, in their order.
  torch::Tensor log_probabilities(const torch::Tensor& images_BCHW, const torch::Tensor& outputs_K = {});

  /// Hands over the evaluation views of all images (cli/image_pass.h). Only where `wanted` holds are images looked at,
  /// others come as black.
  Passed each_batch(const std::function<void(const Batch&)>& use,
                    const std::function<bool(int64_t image)>& wanted = {}) const;

  const torch::Device& device() const { return device_; }

 private:
  std::string command_;
  ClassificationOptions options_;
  torch::Device device_ = torch::kCPU;
  LoadedClassifier loaded_;
  Dataset images_;
};

}  // namespace beit
