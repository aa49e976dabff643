// What `beit bench` times: the work of the commands on random images, at the sizes of the paper.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/config.h"

namespace beit {

struct CaseOptions {
  int64_t batch = 8;         ///< images a step
  ModelOptions model;        ///< image size and drop path count
  CodebookOptions codebook;  ///< the number of codes counts
  TrainOptions train;        ///< the precision counts
  std::string weights;       ///< file of a pre-training model of base size
  torch::Device device = torch::kCPU;
};

/// One step; the same work at every call.
using Step = std::function<void()>;

struct BenchCase {
  std::string name;
  std::vector<std::string> takes;                ///< options that make a difference to it, beside threads and steps
  std::function<Step(const CaseOptions&)> make;  ///< builds models and data, which the step owns
};

/// `mim`        a training step of masked image modelling, the tokenizer's codes included.
/// `vqkd`       a training step of the tokenizer: CLIP teacher, encoder, codebook, decoder of 3 blocks.
/// `classify`   a training step of fine-tuning: 1000 classes, a bias table in each block, nothing mixed.
/// `small`      a training step of masked image modelling of 6 blocks of 128, 64 patches and 512 codes, without
///              tokenizer.
/// `tokenize`   images to codes.
/// `quantizer`  196 vectors an image to codes in training, backward pass and the codes' move included.
/// `open`       a file of weights read and copied into a model.
/// Networks have base size where nothing else is said. A training step is that of the training commands: backward pass,
/// clipping of the gradients, AdamW.
const std::vector<BenchCase>& bench_cases();

}  // namespace beit
