// The codebook: turns teacher-aligned features into discrete visual tokens (paper, section 2.2).
// Shape letters: B images, N patches an image, M = B * N, D code width, K codes.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>

#include "core/ranks.h"
#include "core/step_rows.h"

namespace beit {

struct QuantizerOptions {
  int64_t codes = 8192;      ///< K
  int64_t width = 32;        ///< D
  double decay = 0.99;       ///< of the moving averages, in [0, 1)
  double beta = 1.0;         ///< weight of the commitment loss
  bool kmeans_start = true;  ///< the first training batch's k-means gives the first codes
  double revive_threshold =
      0;                      ///< a code is dead below this share of the mean use; 0 revives none (the published form)
  int64_t revive_every = 50;  ///< updates between two searches for dead codes
};

struct Quantized {
  torch::Tensor codes_BND;  ///< unit vectors; the gradient passes straight to the input
  torch::Tensor ids_BN;     ///< int64 in [0, K): the visual tokens
  torch::Tensor loss;       ///< scalar, already times beta
};

/// How well a set of tokens uses the codebook.
struct CodeUsage {
  double percent = 0;     ///< of the codes used at least once
  int64_t unused = 0;     ///< codes never used
  double perplexity = 0;  ///< exp of the entropy of the codes' frequencies, in [1, K]
};

CodeUsage code_usage(const torch::Tensor& counts_K);

/// Nearest code on the unit sphere, `NormEMAVectorQuantizer` of the published code.
///
/// In train(), forward() notes which vectors each code was given and update() moves the codes, so that a step that is
/// not taken changes nothing and several forward passes count as one batch; the codes of the k-means start too stay
/// only with update(). In eval() codes never move, and usage is counted apart from training's. Each code's mean over
/// the batch is normalised; the code goes 1 - decay of the way.
///
/// K-means start: the first training step's vectors, at most 262,144 of them in whole samples, give the first codes.
/// forward() starts by itself from what it was given, as the published form does; a step in several parts needs
/// stage_start() before.
///
/// Revival: at every `revive_every`-th update, a code that was given less than `revive_threshold` times the mean number
/// of vectors since the last search becomes one of the step's own vectors, drawn without repetition while they last.
///
/// Start and revival number the step's vectors by sample (core/step_rows.h): with the generator seeded equally, the
/// codes do not depend on how the step is cut into parts and over ranks. Only rank 0 draws; what it draws goes to all.
/// All is computed in at least float32, also under autocast.
///
/// Names in files: embedding.{weight,cluster_size,embed_avg,initted}, cluster_size. Not thread-safe.
/// stage_start(), forward() while needs_start() and update() are collective: every rank calls them equally often.
class QuantizerImpl : public torch::nn::Module {
 public:
  explicit QuantizerImpl(const QuantizerOptions& options, Ranks ranks = {});

  /// Features [B, N, D] of any length; they are normalised here.
  Quantized forward(const torch::Tensor& features_BND, const StepPart& part = {});

  /// Whether there are no codes yet, neither k-means' nor given ones.
  bool needs_start() const;

  /// Finds k-means' codes from the features [B, N, D] of all of this rank's parts of the step; forward() then uses
  /// them, update() keeps them and discard() forgets them. Collective.
  void stage_start(const torch::Tensor& features_BND, const StepPart& part = {});

  /// Applies what forward() noted since the last call; nothing after none. The codes of training until then:
  /// codebook(), or k-means' of the first forward().
  void update();

  /// Forgets what forward() noted: the step is not taken.
  void discard();

  /// [K, D] to start from in place of k-means; need not be of unit length.
  void set_codebook(const torch::Tensor& codes_KD);
  const torch::Tensor& codebook() const { return weight_KD_; }

  /// How often each code was used since reset_usage(), int64 [K]; train() and eval() count apart.
  const torch::Tensor& counts() const { return is_training() ? train_counts_K_ : eval_counts_K_; }
  /// Starts the counts of the present mode anew; called before each epoch and each validation.
  void reset_usage();

  /// What a resumed run needs beside the published tensors: usage counts, by name.
  std::map<std::string, torch::Tensor> progress() const;
  /// Error where one is missing or of another number of codes.
  void set_progress(const std::map<std::string, torch::Tensor>& progress);

 private:
  /// Features of unit length in the type that all is computed in.
  torch::Tensor unit_vectors(const torch::Tensor& features_BND) const;
  void start_from(const torch::Tensor& z_BND, const StepPart& part);
  void revive();

  QuantizerOptions options_;
  Ranks ranks_;
  torch::Tensor weight_KD_, start_counts_K_, embed_avg_KD_, initted_1_, cluster_size_K_;
  torch::Tensor train_counts_K_, eval_counts_K_;
  torch::Tensor staged_counts_K_, staged_sums_KD_;         // since the last update()
  StepRows staged_rows_;                                   // likewise, where codes are revived
  torch::Tensor staged_start_KD_, staged_start_counts_K_;  // k-means' codes, until the first update()
  torch::Tensor recent_counts_K_;                          // since the last search for dead codes
  int64_t updates_since_search_ = 0;
  mutable int64_t seen_version_ = -1;  // of initted_1_, when it was looked at
  mutable bool started_ = false;       // what it said
};
TORCH_MODULE(Quantizer);

}  // namespace beit
