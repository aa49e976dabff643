// What is timed: the work of each command at the published base size, as the PyTorch baseline does it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace beit {

struct CaseOptions {
  int64_t batch_size = 8;    ///< images a step
  std::string images;        ///< folder or tar file, for `load`
  int64_t image_size = 224;  ///< pixels of a side of the views of `load`
  int64_t workers = 1;       ///< threads of `load`
  std::string weights;       ///< file of a pre-training model of base size, for `open`

  /// What a step measured itself, by name.
  std::shared_ptr<std::map<std::string, double>> counters = std::make_shared<std::map<std::string, double>>();
};

/// One step; the same work at every call.
using Step = std::function<void()>;

struct Case {
  std::string name;
  std::function<Step(const CaseOptions&)> make;  ///< builds models and data, which the step owns
};

/// `vqkd`      a training step of the tokenizer: CLIP teacher, encoder, 8192 codes, decoder of 3 blocks, optimizer.
/// `mim`       a training step of masked image modelling, the tokenizer's codes included.
/// `tokenize`  images to codes.
/// `small`     a pre-training step of a network of the demo's kind, without tokenizer.
/// `open`      a file of weights read and copied into a module.
/// `load`      image files to the pre-training views of one batch, with --decode fast; microseconds an image by stage.
/// `load_exact`  likewise with --decode exact.
std::vector<Case> all_cases();

}  // namespace beit
