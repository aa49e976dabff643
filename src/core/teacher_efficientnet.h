// EfficientNet-Lite's map at stride 16 as teacher: what a classifier of ImageNet sees in each 16x16 pixels.
// Shape letters: B images, N patches, D channels of the map.
#pragma once

#include <torch/torch.h>

#include "core/efficientnet_lite.h"
#include "core/teacher.h"

namespace beit {

class EfficientNetTeacher : public Teacher {
 public:
  EfficientNetTeacher(const TeacherOptions& options, const Grid& student_grid, const NamedTensors& file);
  torch::Tensor target(const torch::Tensor& images_BCHW) override;
  int64_t width() const override { return network_.map_channels(); }
  bool standardised() const override { return true; }
  void to(const torch::Device& device) override { network_.to(device); }

 private:
  Grid student_grid_, grid_;
  EfficientNetLite network_;
};

}  // namespace beit
