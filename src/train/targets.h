// The teacher's features of a batch: computed when they are asked for, or once and kept in a file.
// Shape letters: B images of a batch, M images of the data set, N patches, F width of a feature.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <vector>

#include "base/config.h"
#include "core/channel_statistics.h"
#include "core/teacher.h"
#include "data/dataset.h"
#include "data/loader.h"

namespace beit {

/// A teacher that standardises its channels takes their mean and deviation from at most so many images.
inline constexpr int64_t kStatisticsImages = 4096;

/// The teacher that `choice` names, on a resolved model's grid; its weights come from the file that `choice` names.
/// Errors: those of make_teacher() and read_weights().
std::shared_ptr<Teacher> load_teacher(const TeacherChoice& choice, const ModelOptions& model);

/// Not thread-safe.
class Targets {
 public:
  /// The teacher that `choice` names, for a resolved model. Where it standardises its channels, their mean and
  /// deviation are taken here, over the evaluation views of images drawn always alike. With `choice.teacher_cache`, the
  /// features of each image's evaluation view and of its mirror image are read from that file; where it is missing they
  /// are computed and it is written: 2 M N F numbers of two bytes, all in memory. Errors: those of the teacher; a cache
  /// that was made for something else.
  Targets(const TeacherChoice& choice, const ModelOptions& model, const Dataset& images, const DataOptions& data,
          const torch::Device& device);

  /// Float32 [B, N, F] without gradient, on the device. images_BCHW: in [0, 1], on the device. Where there is a cache
  /// they must be evaluation views of the images `indices_B` (int64, on the CPU), mirrored where mirrored_B (bool, on
  /// any device) says so.
  torch::Tensor of(const torch::Tensor& images_BCHW, const torch::Tensor& indices_B, const torch::Tensor& mirrored_B);

  /// F
  int64_t width() const { return width_; }

 private:
  /// The teacher's features, standardised where it asks for it.
  torch::Tensor compute(const torch::Tensor& images_BCHW);
  torch::Tensor standardised(const torch::Tensor& target_BNF) const;
  /// cache_RNF_. first_BNF: the teacher's features of the loader's first batches, on the CPU; it lets go of each.
  torch::Tensor compute_all(Loader& loader, int64_t images, int64_t patches, std::vector<torch::Tensor>& first_BNF);

  std::shared_ptr<Teacher> teacher_;
  torch::Device device_;
  int64_t width_ = 0;
  std::optional<ChannelStatistics> statistics_;
  torch::Tensor cache_RNF_;  ///< float16, on the CPU, R = 2 M, each image before its mirror image; undefined without
};

}  // namespace beit
