// The vectors of one training step in one order, whatever parts and ranks hold them.
// Shape letters: B images of a part, N patches an image, D width, M rows of this rank, R rows asked for.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "core/ranks.h"
#include "core/step_part.h"

namespace beit {

/// All rows of a step, of which this rank holds some.
struct PlacedRows {
  int64_t rows = 0;     ///< of all ranks together
  int64_t patches = 1;  ///< rows of one sample
  torch::Tensor z_MD;   ///< those of this rank
  torch::Tensor row_M;  ///< int64: their places, in [0, rows)

  /// The first rows on every rank, of whole samples: at most `most`, at least one sample. Collective.
  torch::Tensor front(int64_t most, const Ranks& ranks) const;

  /// [R, D]: the rows `row_R`, the same on every rank. Collective.
  torch::Tensor pick(const torch::Tensor& row_R, const Ranks& ranks) const;
};

/// Gathers a step's vectors part by part. Patch n of the step's sample s is row s * N + n; where parts do not say which
/// samples they hold, rows stand in the order in which they came, those of rank 0 first.
class StepRows {
 public:
  /// Keeps [B, N, D] of one part. Error where it belongs to another kind of step than those before it.
  void add(const torch::Tensor& z_BND, const StepPart& part);
  void clear() { *this = {}; }

  /// Where all rows stand. Needs at least one part on each rank. Error, on all ranks, unless these make up the whole
  /// step. Collective.
  PlacedRows place(const Ranks& ranks) const;

 private:
  int64_t samples_ = 0, patches_ = 0;
  std::vector<torch::Tensor> z_MD_, samples_B_;
};

}  // namespace beit
