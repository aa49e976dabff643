// Loops over memory that LibTorch has no single pass for, in the widest vector instructions of this processor.
#pragma once

#include <cstdint>

namespace beit {

/// Rows of numbers next to one another; from one row to the next it is `stride` numbers.
struct ConstRows {
  const float* data;
  int64_t stride;
};
struct Rows {
  float* data;
  int64_t stride;
};

/// What attention of one head of one image reads: Q queries, T tokens of which each has a key and a value, all of d
/// numbers.
struct AttentionHead {
  int64_t queries, tokens, width;  ///< Q, T, d
  ConstRows q, k, v;               ///< [Q, d], [T, d], [T, d]
  const float* bias;               ///< [T, T], or null
  const int64_t* bias_rows;        ///< [Q], in [0, T): which row of the bias is each query's; not read without bias
};

/// Written, but for the bias's: to that one is added. Null where nobody asks for it.
struct AttentionGradients {
  Rows q, k, v;
  float* bias;
};

constexpr int64_t kNearestTile = 64;                     ///< codes of a tile of `nearest`
constexpr int64_t kNearestMostCodes = int64_t{1} << 23;  ///< of all its tiles: counted in float32

/// What step t of AdamW, counted from 1, multiplies with (Loshchilov and Hutter, algorithm 2).
struct AdamWFactors {
  float grad_scale;    ///< of the gradient, before all else
  float rate1, rate2;  ///< 1 - beta1 and 1 - beta2, of the moving averages
  float root_scale;    ///< 1 / sqrt(1 - beta2^t), of the root of the second average
  float eps;
  float kept;  ///< 1 - learning rate * weight decay, of the value
  float lr;    ///< learning rate / (1 - beta1^t)
};

/// LayerNorm of rows of `width` numbers: (x - mean) / sqrt(variance + eps) * weight + bias.
struct RowNorm {
  int64_t width;
  float eps;
  const float* weight;  ///< [width], as the bias
  const float* bias;
};

struct RowCrossEntropy {
  float loss;  ///< of the target
  bool right;  ///< whether the target has the largest logit, the first of equals; no logit is NaN
};

/// One entry a loop, in float32; src/core/kernels/ has them, each compiled once a level of vector instructions. They
/// run on one thread, check nothing, and accept unaligned memory. Unless said otherwise, memory of arguments must not
/// overlap.
struct Kernels {
  /// y = gelu(x), exact (erf). y may be x.
  void (*gelu)(const float* x, float* y, int64_t count);
  /// With gelu's gradient: grad_x = grad_y * gelu'(x), and y = gelu(x). grad_x may be grad_y, and y may be x.
  void (*gelu_backward)(const float* x, const float* grad_y, float* grad_x, float* y, int64_t count);
  /// y [rows, width] from x. Where asked for, `moments` [rows, 2] gets each row's mean and 1 / sqrt(variance + eps).
  void (*layer_norm)(const RowNorm& norm, const float* x, int64_t rows, float* y, float* moments);
  /// grad_x = its gradient from that of y + grad_more, all [rows, width]; to those of weight and bias is added. grad_x
  /// may be grad_y or grad_more.
  void (*layer_norm_backward)(const RowNorm& norm, const float* x, const float* moments, int64_t rows,
                              const float* grad_y, const float* grad_more, float* grad_x, float* grad_weight,
                              float* grad_bias);
  /// [rows, columns] to [columns, rows].
  void (*transpose)(const float* x, int64_t rows, int64_t columns, float* y);
  /// How many numbers of scratch the next two take.
  int64_t (*attention_scratch)(int64_t tokens, int64_t width);
  /// y [Q, d] = softmax(q k^T / sqrt(d) + bias) v, and the logarithm of the sum of each query's exponentials [Q].
  void (*attention)(const AttentionHead& head, const Rows& y, float* log_sums, float* scratch);
  /// The gradients from that of y, [Q, d]; the weights are computed anew from the logarithms.
  void (*attention_backward)(const AttentionHead& head, const float* log_sums, const ConstRows& grad_y,
                             const AttentionGradients& gradients, float* scratch);
  /// Of each row of z [rows, width] the code with the smallest score, the first of equals; 0 where no score is below
  /// infinity. codes [tiles, 1 + width, kNearestTile]: what each code's score starts from, and what the row's elements
  /// are multiplied with and added to it.
  void (*nearest)(const float* z, int64_t rows, int64_t width, const float* codes, int64_t tiles, int64_t* ids);
  /// Cross-entropy of softmax(logits + bias); logits become `scale` times its gradient with respect to them. 0 <=
  /// target < classes.
  RowCrossEntropy (*cross_entropy)(float* logits, const float* bias, int64_t classes, int64_t target, float scale);
  /// A step of AdamW: moves the averages and the value, by element.
  void (*adamw)(const AdamWFactors& factors, const float* grad, float* value, float* exp_avg, float* exp_avg_sq,
                int64_t count);
  /// In float32 within each of a few dozen sums.
  double (*sum_squares)(const float* x, int64_t count);
  /// Whether these loops are in vector instructions: without, LibTorch's matrix products are faster than they are.
  bool in_vectors;
};

/// Those of the level that LibTorch itself has chosen: the environment variable ATEN_CPU_CAPABILITY (default, avx2,
/// avx512) lowers both.
const Kernels& kernels();

}  // namespace beit
