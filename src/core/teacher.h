// What the tokenizer learns to predict: a frozen network's or a hand-made feature for each patch.
// Shape letters: B images, N patches of the student's grid, D width of the target.
#pragma once

#include <torch/torch.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/grid.h"

namespace beit {

/// The families of targets that the paper compares (table 5): semantic ones and the pixels' own.
class Teacher {
 public:
  virtual ~Teacher() = default;

  /// Images [B, 3, H, W] in [0, 1], of any size: the teacher enlarges or shrinks them (bicubic, anti-aliased where
  /// it shrinks) to its own input and standardises them itself. Returns float32 [B, N, D] on the student's grid;
  /// another grid of its own is interpolated. No gradient; not thread-safe.
  virtual torch::Tensor target(const torch::Tensor& images_BCHW) = 0;

  /// D
  virtual int64_t width() const = 0;

  /// Whether each channel should be standardised over the data set before the cosine (raw network maps); see
  /// core/channel_statistics.h.
  virtual bool standardised() const { return false; }

  /// Moves the network; a no-op for hand-made targets.
  virtual void to(const torch::Device&) {}
};

struct TeacherOptions {
  std::string kind = "clip";  ///< clip, dino (also DINOv2), efficientnet-lite, hog or pixels
  int64_t image_size = 0;     ///< pixels of the shorter side of what the teacher sees; 0: its own size
  int64_t patch_size = 16;    ///< pixels of the student's patch: what hog and pixels describe where image_size is 0
  int64_t heads = 0;          ///< of the clip and dino networks; 0: width / 64
};

/// Whether a kind of teacher is a network. Error for an unknown kind.
bool teacher_needs_weights(std::string_view kind);

/// Builds a teacher for a student's grid. Networks take their shape from the tensors' shapes and copy the tensors;
/// a prefix that the whole network carries (`visual.`) is dropped, with it all tensors that lack the prefix.
///
/// What a teacher sees has the proportions of the student's grid. Its own size is: clip and dino, the grid that their
/// position embedding was trained for; efficientnet-lite, 16 pixels a patch, so that its map is the student's grid;
/// hog and pixels, `patch_size` pixels a patch. Position embeddings are resized to another `image_size`.
///
/// Errors: an unknown kind, weights absent where they are needed or present where not, another network's weights, an
/// image_size that is no multiple of the teacher's patch.
std::shared_ptr<Teacher> make_teacher(const TeacherOptions& options, const Grid& student_grid,
                                      const std::map<std::string, torch::Tensor>& weights);

}  // namespace beit
