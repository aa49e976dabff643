// Shape letters: M rows, D width.
#include "core/kernels/nearest.h"

#include <algorithm>
#include <limits>

#include "core/kernels.h"
#include "core/kernels/vectors.h"

namespace beit::CPU_CAPABILITY {
namespace {

constexpr int kRows = 6;                             // looked at together, with
constexpr int kVectors = Vec::size() == 16 ? 4 : 2;  // vectors of codes: their scores fill the registers
constexpr int64_t kStep = kVectors * Vec::size();    // codes
constexpr int64_t kRowsAtOnce = 16 * kRows;          // by one tile, which stays in the first cache meanwhile
constexpr float kFar = std::numeric_limits<float>::infinity();
static_assert(kNearestTile % kStep == 0);

/// For each row and lane of a vector: the smallest score so far, and its code less the lane, a whole number.
struct Best {
  float scores[kRowsAtOnce][Vec::size()];
  float codes[kRowsAtOnce][Vec::size()];

  void start(int64_t rows) {
    std::fill_n(&scores[0][0], rows * Vec::size(), kFar);
    std::fill_n(&codes[0][0], rows * Vec::size(), 0.0F);
  }

  int64_t of_row(int64_t row) const {
    float score = kFar;
    int64_t id = 0;
    for (int lane = 0; lane < Vec::size(); ++lane) {
      const auto code = static_cast<int64_t>(codes[row][lane]) + lane;
      if (scores[row][lane] > score || (scores[row][lane] == score && (score == kFar || code > id))) continue;
      score = scores[row][lane];
      id = code;
    }
    return id;
  }
};

/// R rows of z from `row` on, by kStep codes of a tile, the first of which is `code`.
template <int R>
void look(const float* z_MD, int64_t row, int64_t width, const float* codes, int64_t code, Best& best) {
  Vec scores[R][kVectors];
  for (auto& of_row : scores)
    for (int v = 0; v < kVectors; ++v) of_row[v] = Vec::loadu(codes + v * Vec::size());
  for (int64_t d = 0; d < width; ++d) {
    codes += kNearestTile;
    for (int r = 0; r < R; ++r) {
      const Vec z(z_MD[(row + r) * width + d]);
      for (int v = 0; v < kVectors; ++v)
        scores[r][v] = at::vec::fmadd(z, Vec::loadu(codes + v * Vec::size()), scores[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    auto score = Vec::loadu(best.scores[row + r]), found = Vec::loadu(best.codes[row + r]);
    for (int v = 0; v < kVectors; ++v) {
      const auto nearer = scores[r][v] < score;
      score = Vec::blendv(score, scores[r][v], nearer);
      found = Vec::blendv(found, Vec(static_cast<float>(code + v * Vec::size())), nearer);
    }
    score.store(best.scores[row + r]);
    found.store(best.codes[row + r]);
  }
}

}  // namespace

void nearest(const float* z_MD, int64_t rows, int64_t width, const float* codes, int64_t tiles, int64_t* ids) {
  Best best;
  for (; rows > 0; rows -= kRowsAtOnce, z_MD += kRowsAtOnce * width, ids += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, rows);
    best.start(count);
    for (int64_t code = 0; code < tiles * kNearestTile; code += kStep) {
      const float* part = codes + code / kNearestTile * kNearestTile * (1 + width) + code % kNearestTile;
      int64_t row = 0;
      for (; row + kRows <= count; row += kRows) look<kRows>(z_MD, row, width, part, code, best);
      for (; row < count; ++row) look<1>(z_MD, row, width, part, code, best);
    }
    for (int64_t row = 0; row < count; ++row) ids[row] = best.of_row(row);
  }
}

}  // namespace beit::CPU_CAPABILITY
