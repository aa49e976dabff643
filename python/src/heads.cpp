// beit.Classifier and beit.Segmenter. Shape letters: B images, K classes, H and W height and width.
#include <vector>

#include "binding.h"
#include "core/normalise.h"
#include "core/window_scores.h"
#include "module.h"
#include "train/models.h"

namespace beit {
namespace {

template <class Loaded>
void add_classes(py::class_<Held<Loaded>>& type) {
  type.def_property_readonly(
          "classes", [](const Held<Loaded>& self) { return self.loaded().classes; }, "Their number.")
      .def_property_readonly(
          "class_names", [](const Held<Loaded>& self) { return self.loaded().class_names; },
          "In the order of the logits; empty where the file has none.");
}

torch::Tensor classify(Held<LoadedClassifier>& self, const torch::Tensor& images_BCHW) {
  require_images(images_BCHW, self.device(), "classifier");
  return self.compute([&](LoadedClassifier& loaded) {
    return loaded.model->forward(normalise(images_BCHW, InputForm::kImagenetNorm));
  });
}

torch::Tensor segment(Held<LoadedSegmenter>& self, const torch::Tensor& images_BCHW, int64_t stride) {
  require_images(images_BCHW, self.device(), "segmenter");
  return self.compute([&](LoadedSegmenter& loaded) {
    const auto normal_BCHW = normalise(images_BCHW, InputForm::kImagenetNorm);
    if (stride == 0) return loaded.model->scores(normal_BCHW);
    std::vector<torch::Tensor> logits;
    for (const auto& view_1CHW : normal_BCHW.split(1)) logits.push_back(window_logits(loaded.model, view_1CHW, stride));
    return torch::cat(logits);
  });
}

}  // namespace

void add_heads(py::module_& scope) {
  py::class_<Held<LoadedClassifier>> classifier(scope, "Classifier",
                                                "Images to logits of classes. One call at a time, from any thread.");
  add_load(classifier, &load_classifier);
  add_description(classifier, "Classifier");
  add_classes(classifier);
  classifier.def("__call__", &classify, py::arg("images"), "Logits [B, classes] of images [B, 3, height, width].");

  py::class_<Held<LoadedSegmenter>> segmenter(
      scope, "Segmenter", "Images to a logit of each class at each pixel. One call at a time, from any thread.");
  add_load(segmenter, &load_segmenter);
  add_description(segmenter, "Segmenter");
  add_classes(segmenter);
  segmenter.def("__call__", &segment, py::arg("images"), py::kw_only(), py::arg("stride") = 0,
                "Logits [B, classes, height, width] of images of any size. stride: pixels between two windows of "
                "image_size, of which the mean is taken; 0: each image at once.");
}

}  // namespace beit
