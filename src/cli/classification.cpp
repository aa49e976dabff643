#include "cli/classification.h"

#include <cmath>

#include "base/error.h"
#include "cli/class_choice.h"
#include "cli/images.h"
#include "cli/runtime.h"
#include "io/atomic_file.h"
#include "train/evaluation.h"

namespace beit {

OptionList ClassificationOptions::options() {
  return join(
      {{{.name = "weights",
         .value = &weights,
         .help = "a classifier's, ours or published, or run folder of `beit finetune`",
         .value_name = "FILE|RUN"},
        {.name = "class-names",
         .value = &class_names,
         .help = "names of the outputs in their order, one a line, in place of those that the weights tell",
         .value_name = "FILE"},
        {.name = "flip", .value = &flip, .help = "the mean of an image's and its mirror image's probabilities"},
        {.name = "skip-damaged", .value = &skip_damaged, .help = "leave out images that cannot be read"},
        {.name = "batch-size", .value = &batch_size, .help = "images at a time", .range = {.least = 1, .most = 1e6}}},
       pick(describe(data), {"data", "workers", "apply-orientation"}),
       pick(describe(load), {"image-size", "heads"}),
       describe(runtime)});
}

Classification::Classification(std::string_view command, const ClassificationOptions& options,
                               const std::vector<std::filesystem::path>& outputs)
    : command_(command), options_(options) {
  require(!options.weights.empty(), "{}: expected a classifier, got none; set --weights FILE or RUN", command);
  require(!options.data.data.empty(), "{}: expected images, got none; set --data PATH", command);
  for (const auto& output : outputs) {
    if (output.empty()) continue;
    require_apart(output, options.weights, options.data.data);
    require_writable(output);
  }
  device_ = apply(options.runtime);
  loaded_ = load_classifier(options.weights, options.load);
  loaded_.model->to(device_);
  if (!options.class_names.empty()) {
    loaded_.class_names = read_class_names(options.class_names);
    require(std::ssize(loaded_.class_names) == loaded_.classes,
            "{}: expected a name for each of the model's {} outputs, got {}", options.class_names, loaded_.classes,
            loaded_.class_names.size());
  }
  images_ = open_images(options.data.data, "data");
  for (const auto& output : outputs) {
    if (!output.empty()) require_unread(output, images_);
  }
}

torch::Tensor Classification::log_probabilities(const torch::Tensor& images_BCHW, const torch::Tensor& outputs_K) {
  const auto of = [&](const torch::Tensor& views_BCHW) {
    const auto logits_BK = loaded_.model->forward(views_BCHW);
    return (outputs_K.defined() ? logits_BK.index_select(1, outputs_K) : logits_BK).log_softmax(1);
  };
  const auto plain_BK = of(images_BCHW);
  return options_.flip ? plain_BK.logaddexp(of(images_BCHW.flip(3))) - std::log(2.0) : plain_BK;
}

Passed Classification::each_batch(const std::function<void(const Batch&)>& use,
                                  const std::function<bool(int64_t image)>& wanted) const {
  const auto view = evaluation_transform(loaded_.options, kImagenetScale);
  const auto transform = [&](EncodedImage& image, const SampleRequest& sample) -> Views {
    if (!wanted || wanted(sample.index)) return view(image, sample);
    return {torch::zeros({3, image_size(), image_size()})};
  };
  return beit::each_batch(images_, transform,
                          {.command = command_,
                           .data = options_.data,
                           .batch_size = options_.batch_size,
                           .skip_damaged = options_.skip_damaged,
                           .device = device_,
                           .quiet = options_.runtime.quiet},
                          use);
}

}  // namespace beit
