#include "core/teacher_efficientnet.h"

#include "core/regrid.h"

namespace beit {
namespace {

constexpr int64_t kMapStride = 16;

}  // namespace

EfficientNetTeacher::EfficientNetTeacher(const TeacherOptions& options, const Grid& student_grid,
                                         const NamedTensors& file)
    : student_grid_(student_grid),
      grid_(teacher_grid(options.image_size, kMapStride, student_grid, student_grid)),
      network_(file) {}

torch::Tensor EfficientNetTeacher::target(const torch::Tensor& images_BCHW) {
  torch::NoGradGuard no_grad;
  const auto input = resize_images(images_BCHW, grid_.rows * kMapStride, grid_.columns * kMapStride);
  // Channels last: this reorders nothing in memory.
  return resize_map(network_.map(input).flatten(2).transpose(1, 2), grid_, student_grid_).contiguous();
}

}  // namespace beit
