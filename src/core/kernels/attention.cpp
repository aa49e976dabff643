// Shape letters: Q queries, T tokens, d width of a head; R queries of a tile, for which scores are held at a time.
#include "core/kernels/attention.h"

#include <cmath>
#include <limits>
#include <utility>

#include "core/kernels/gemm.h"
#include "core/kernels/transpose.h"

namespace beit::CPU_CAPABILITY {
namespace {

constexpr int64_t kTile = 66;  // queries: whole blocks, whose scores should fit the second cache

/// Hands out parts of one piece of memory.
class Scratch {
 public:
  explicit Scratch(float* data) : next_(data) {}
  /// [rows, columns], both padded to whole vectors.
  float* take(int64_t rows, int64_t columns) { return std::exchange(next_, next_ + padded(rows) * padded(columns)); }

 private:
  float* next_;
};

/// padded(rows) rows: those given times `factor`, padded with zeros as the last ones are.
void pack(const ConstRows& from, int64_t rows, int64_t columns, float factor, float* to) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* const row = from.data + i * from.stride;
    float* const packed = to + i * padded(columns);
    for_each_vector(columns, [&](int64_t j, int size) { (Vec(factor) * Vec::loadu(row + j, size)).store(packed + j); });
  }
  std::fill(to + rows * padded(columns), to + padded(rows) * padded(columns), 0.0F);
}

/// A padded row times `factor`.
void unpack(const float* packed, int64_t columns, float factor, float* to) {
  for_each_vector(columns, [&](int64_t j, int size) { (Vec(factor) * Vec::loadu(packed + j)).store(to + j, size); });
}

const float* bias_row(const AttentionHead& head, int64_t query) {
  return head.bias == nullptr ? nullptr : head.bias + head.bias_rows[query] * head.tokens;
}

float scale(const AttentionHead& head) { return 1.0F / std::sqrt(static_cast<float>(head.width)); }

ConstRows from(const ConstRows& rows, int64_t first) { return {rows.data + first * rows.stride, rows.stride}; }

/// `size` scores and their bias, if there is one; behind them what no maximum or exponential sees.
Vec biased(const float* scores, const float* bias, int size) {
  auto sum = Vec::loadu(scores);
  if (bias != nullptr) sum = sum + Vec::loadu(bias, size);
  return size == Vec::size() ? sum : Vec::set(Vec(-std::numeric_limits<float>::infinity()), sum, size);
}

const float* at_column(const float* row, int64_t column) { return row == nullptr ? nullptr : row + column; }

float greatest(const float* scores, const float* bias, int64_t tokens) {
  Vec highest(-std::numeric_limits<float>::infinity());
  for_each_vector(tokens, [&](int64_t j, int size) {
    highest = at::vec::maximum(highest, biased(scores + j, at_column(bias, j), size));
  });
  return greatest(highest);
}

/// scores <- exp(scores + bias - shift), whose sum is returned.
float exponentials(float* scores, const float* bias, int64_t tokens, float shift) {
  Vec total(0.0F);
  for_each_vector(tokens, [&](int64_t j, int size) {
    const auto weight = (biased(scores + j, at_column(bias, j), size) - Vec(shift)).exp_u20();
    weight.store(scores + j);
    total = total + weight;
  });
  return sum(total);
}

/// grad_weights <- the gradient of the scores, from the weights of one query (softmax's gradient).
void softmax_backward(const float* weights, int64_t tokens, float* grad_weights) {
  Vec products(0.0F);
  for (int64_t j = 0; j < tokens; j += Vec::size())
    products = at::vec::fmadd(Vec::loadu(weights + j), Vec::loadu(grad_weights + j), products);
  const Vec mean(sum(products));
  for (int64_t j = 0; j < tokens; j += Vec::size())
    (Vec::loadu(weights + j) * (Vec::loadu(grad_weights + j) - mean)).store(grad_weights + j);
}

void add(const float* values, int64_t count, float* to) {
  for_each_vector(count, [&](int64_t j, int size) {
    (Vec::loadu(to + j, size) + Vec::loadu(values + j, size)).store(to + j, size);
  });
}

}  // namespace

int64_t attention_scratch(int64_t tokens, int64_t width) {
  return 5 * padded(tokens) * padded(width) + padded(kTile) * (2 * padded(tokens) + 3 * padded(width));
}

void attention(const AttentionHead& head, const Rows& y, float* log_sums, float* scratch) {
  const int64_t tokens = head.tokens, width = head.width;
  Scratch parts(scratch);
  float* const k_dT = parts.take(width, tokens);
  float* const k_Td = parts.take(tokens, width);
  float* const v_Td = parts.take(tokens, width);
  float* const scores_RT = parts.take(kTile, tokens);
  float* const q_Rd = parts.take(kTile, width);
  float* const y_Rd = parts.take(kTile, width);
  pack(head.k, tokens, width, 1.0F, k_Td);
  pack(head.v, tokens, width, 1.0F, v_Td);
  transpose(k_Td, padded(tokens), padded(width), k_dT);
  for (int64_t first = 0; first < head.queries; first += kTile) {
    const int64_t queries = std::min(kTile, head.queries - first);
    pack(from(head.q, first), queries, width, scale(head), q_Rd);
    gemm(queries, tokens, width, {q_Rd, padded(width), 1}, k_dT, scores_RT, false);
    float factors[kTile];
    for (int64_t i = 0; i < queries; ++i) {
      float* const scores = scores_RT + i * padded(tokens);
      const float* const bias = bias_row(head, first + i);
      const float highest = greatest(scores, bias, tokens);
      const float sum = exponentials(scores, bias, tokens, highest);
      // The exponential makes a finite number of what is none: it must show in the result.
      factors[i] = std::isfinite(highest) ? 1.0F / sum : std::numeric_limits<float>::quiet_NaN();
      log_sums[first + i] = highest + std::log(sum);
    }
    gemm(queries, width, tokens, {scores_RT, padded(tokens), 1}, v_Td, y_Rd, false);
    for (int64_t i = 0; i < queries; ++i)
      unpack(y_Rd + i * padded(width), width, factors[i], y.data + (first + i) * y.stride);
  }
}

void attention_backward(const AttentionHead& head, const float* log_sums, const ConstRows& grad_y,
                        const AttentionGradients& gradients, float* scratch) {
  const int64_t tokens = head.tokens, width = head.width, padded_tokens = padded(tokens), padded_width = padded(width);
  Scratch parts(scratch);
  float* const k_dT = parts.take(width, tokens);
  float* const v_dT = parts.take(width, tokens);
  float* const k_Td = parts.take(tokens, width);
  float* const grad_k_Td = parts.take(tokens, width);
  float* const grad_v_Td = parts.take(tokens, width);
  float* const weights_RT = parts.take(kTile, tokens);
  float* const grad_RT = parts.take(kTile, tokens);
  float* const q_Rd = parts.take(kTile, width);
  float* const grad_y_Rd = parts.take(kTile, width);
  float* const grad_q_Rd = parts.take(kTile, width);
  pack(head.k, tokens, width, 1.0F, k_Td);
  pack(head.v, tokens, width, 1.0F, grad_v_Td);  // its place until gradients are written there
  transpose(k_Td, padded(tokens), padded(width), k_dT);
  transpose(grad_v_Td, padded(tokens), padded(width), v_dT);
  if (head.queries == 0) {
    for (float* const grad_Td : {grad_k_Td, grad_v_Td}) std::fill_n(grad_Td, tokens * padded_width, 0.0F);
  }
  for (int64_t first = 0; first < head.queries; first += kTile) {
    const int64_t queries = std::min(kTile, head.queries - first);
    const bool add_to = first > 0;
    pack(from(head.q, first), queries, width, scale(head), q_Rd);
    pack(from(grad_y, first), queries, width, 1.0F, grad_y_Rd);
    gemm(queries, tokens, width, {q_Rd, padded_width, 1}, k_dT, weights_RT, false);
    gemm(queries, tokens, width, {grad_y_Rd, padded_width, 1}, v_dT, grad_RT, false);
    for (int64_t i = 0; i < queries; ++i) {
      float* const weights = weights_RT + i * padded_tokens;
      float* const grad = grad_RT + i * padded_tokens;
      exponentials(weights, bias_row(head, first + i), tokens, log_sums[first + i]);
      softmax_backward(weights, tokens, grad);
      if (gradients.bias != nullptr) add(grad, tokens, gradients.bias + head.bias_rows[first + i] * tokens);
    }
    gemm(tokens, width, queries, {weights_RT, 1, padded_tokens}, grad_y_Rd, grad_v_Td, add_to);
    gemm(tokens, width, queries, {grad_RT, 1, padded_tokens}, q_Rd, grad_k_Td, add_to);
    gemm(queries, width, tokens, {grad_RT, padded_tokens, 1}, k_Td, grad_q_Rd, false);
    for (int64_t i = 0; i < queries; ++i)
      unpack(grad_q_Rd + i * padded_width, width, scale(head), gradients.q.data + (first + i) * gradients.q.stride);
  }
  for (int64_t i = 0; i < tokens; ++i) {
    unpack(grad_k_Td + i * padded_width, width, 1.0F, gradients.k.data + i * gradients.k.stride);
    unpack(grad_v_Td + i * padded_width, width, 1.0F, gradients.v.data + i * gradients.v.stride);
  }
}

}  // namespace beit::CPU_CAPABILITY
