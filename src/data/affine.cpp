#include "data/affine.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

using Triple = std::array<double, 3>;

// The cubic through four values at -1, 0, 1, 2, with Pillow's coefficient of -1 and its order of operations.
double cubic(double v0, double v1, double v2, double v3, double t) {
  const double p2 = -v0 + v2, p3 = 2 * (v0 - v1) + v2 - v3, p4 = -v0 + v1 - v2 + v3;
  return v1 + t * (p2 + t * (p3 + t * p4));
}

struct Source {
  std::vector<uint8_t> bytes;
  int64_t height, width;

  const uint8_t* row(int64_t y) const { return bytes.data() + y * width * 3; }
  int64_t inside_x(int64_t x) const { return std::clamp<int64_t>(x, 0, width - 1); }
  int64_t inside_y(int64_t y) const { return std::clamp<int64_t>(y, 0, height - 1); }
};

uint8_t to_byte(double value) { return value <= 0.0 ? 0 : value >= 255.0 ? 255 : static_cast<uint8_t>(value); }

// One row at four columns (byte offsets), `t` of the way from the second to the third.
Triple along_row(const uint8_t* row, const std::array<int64_t, 4>& columns, double t) {
  Triple value{};
  for (size_t c = 0; c < 3; ++c) {
    const auto at = [&](size_t i) { return static_cast<double>(row[columns[i] + static_cast<int64_t>(c)]); };
    value[c] = cubic(at(0), at(1), at(2), at(3), t);
  }
  return value;
}

// The point (x, y) lies in the picture. On a pixel's row or column the cubic across it is exactly that pixel.
void interpolate(const Source& source, double x, double y, uint8_t* out) {
  const double left = std::floor(x - 0.5), top = std::floor(y - 0.5);
  const double across = (x - 0.5) - left, down = (y - 0.5) - top;
  const auto column = static_cast<int64_t>(left), row = static_cast<int64_t>(top);
  std::array<int64_t, 4> columns{};
  for (int64_t i = 0; i < 4; ++i) columns[static_cast<size_t>(i)] = source.inside_x(column - 1 + i) * 3;
  const auto value_of_row = [&](int64_t at) { return along_row(source.row(source.inside_y(at)), columns, across); };
  if (down == 0.0) {
    const Triple value = value_of_row(row);
    for (size_t c = 0; c < 3; ++c) out[c] = to_byte(value[c]);
    return;
  }
  std::array<Triple, 4> rows{};
  for (int64_t i = 0; i < 4; ++i) {
    const int64_t at = row - 1 + i;
    if (across == 0.0) {
      const uint8_t* pixel = source.row(source.inside_y(at)) + columns[1];
      for (size_t c = 0; c < 3; ++c) rows[static_cast<size_t>(i)][c] = pixel[c];
    } else {
      rows[static_cast<size_t>(i)] = value_of_row(at);
    }
  }
  for (size_t c = 0; c < 3; ++c) out[c] = to_byte(cubic(rows[0][c], rows[1][c], rows[2][c], rows[3][c], down));
}

// As Python's round(x, 15), which Pillow applies.
double to_15_decimals(double x) { return std::stod(fmt::format("{:.15f}", x)); }

}  // namespace

void affine_(const torch::Tensor& pixels_HWC, const AffineMap& map, const Color& fill) {
  require_pixels(pixels_HWC, "affine");
  for (const double number : {map.a, map.b, map.c, map.d, map.e, map.f}) {
    require(std::isfinite(number), "affine: expected six finite numbers, got {}", number);
  }
  auto* out = pixels_HWC.mutable_data_ptr<uint8_t>();
  const Source source{{out, out + pixels_HWC.numel()}, pixels_HWC.size(0), pixels_HWC.size(1)};
  const auto height = static_cast<double>(source.height), width = static_cast<double>(source.width);
  for (int64_t row = 0; row < source.height; ++row) {
    const double y = static_cast<double>(row) + 0.5;
    for (int64_t column = 0; column < source.width; ++column, out += 3) {
      const double x = static_cast<double>(column) + 0.5;
      const double from_x = map.a * x + map.b * y + map.c, from_y = map.d * x + map.e * y + map.f;
      if (from_x >= 0.0 && from_x < width && from_y >= 0.0 && from_y < height) {
        interpolate(source, from_x, from_y, out);
      } else {
        std::copy(fill.begin(), fill.end(), out);
      }
    }
  }
}

void rotate_(const torch::Tensor& pixels_HWC, double degrees, const Color& fill) {
  require_pixels(pixels_HWC, "rotate");
  require(std::isfinite(degrees), "rotate: expected a finite angle, got {}", degrees);
  double turn = std::fmod(degrees, 360.0);
  if (turn < 0.0) turn += 360.0;
  const double angle = -(turn * (std::numbers::pi / 180.0));
  AffineMap map;
  map.a = map.e = to_15_decimals(std::cos(angle));
  map.b = to_15_decimals(std::sin(angle));
  map.d = to_15_decimals(-std::sin(angle));
  const double x = static_cast<double>(pixels_HWC.size(1)) / 2.0, y = static_cast<double>(pixels_HWC.size(0)) / 2.0;
  map.c = map.a * -x + map.b * -y + 0.0 + x;
  map.f = map.d * -x + map.e * -y + 0.0 + y;
  affine_(pixels_HWC, map, fill);
}

void shear_x_(const torch::Tensor& pixels_HWC, double factor, const Color& fill) {
  affine_(pixels_HWC, {.b = factor}, fill);
}

void shear_y_(const torch::Tensor& pixels_HWC, double factor, const Color& fill) {
  affine_(pixels_HWC, {.d = factor}, fill);
}

void translate_x_(const torch::Tensor& pixels_HWC, double pixels, const Color& fill) {
  affine_(pixels_HWC, {.c = pixels}, fill);
}

void translate_y_(const torch::Tensor& pixels_HWC, double pixels, const Color& fill) {
  affine_(pixels_HWC, {.f = pixels}, fill);
}

}  // namespace beit
