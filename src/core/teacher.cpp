#include "core/teacher.h"

#include "base/error.h"
#include "core/teacher_clip.h"
#include "core/teacher_dino.h"
#include "core/teacher_efficientnet.h"
#include "core/teacher_hog.h"
#include "core/teacher_pixels.h"

namespace beit {

bool teacher_needs_weights(std::string_view kind) {
  if (kind == "clip" || kind == "dino" || kind == "efficientnet-lite") return true;
  require(kind == "hog" || kind == "pixels",
          "teacher: expected clip, dino, efficientnet-lite, hog or pixels, got '{}'; change --teacher", kind);
  return false;
}

std::shared_ptr<Teacher> make_teacher(const TeacherOptions& options, const Grid& student_grid,
                                      const std::map<std::string, torch::Tensor>& weights) {
  const bool network = teacher_needs_weights(options.kind);
  require(!network || !weights.empty(),
          "teacher: expected the weights of {}, got none; name their file with --teacher-weights", options.kind);
  require(network || weights.empty(),
          "teacher: expected no weights for {}, which is computed from the pixels, got {} "
          "tensors; leave --teacher-weights out",
          options.kind, weights.size());
  require(student_grid.rows > 0 && student_grid.columns > 0,
          "teacher: expected a student's grid of at least one patch, got {}x{}; check --image-size and --patch-size",
          student_grid.rows, student_grid.columns);
  if (options.kind == "clip") return std::make_shared<ClipTeacher>(options, student_grid, weights);
  if (options.kind == "dino") return std::make_shared<DinoTeacher>(options, student_grid, weights);
  if (options.kind == "efficientnet-lite") return std::make_shared<EfficientNetTeacher>(options, student_grid, weights);
  if (options.kind == "hog") return std::make_shared<HogTeacher>(options, student_grid);
  return std::make_shared<PixelTeacher>(options, student_grid);
}

}  // namespace beit
