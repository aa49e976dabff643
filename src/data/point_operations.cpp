#include "data/point_operations.h"

#include <algorithm>
#include <array>
#include <span>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

using Table = std::array<uint8_t, 256>;
using Tables = std::array<Table, 3>;
using Histogram = std::array<int64_t, 256>;

std::span<uint8_t> bytes_of(const torch::Tensor& pixels_HWC, const char* where) {
  require_pixels(pixels_HWC, where);
  return {pixels_HWC.mutable_data_ptr<uint8_t>(), static_cast<size_t>(pixels_HWC.numel())};
}

template <class Function>
Table tabulate(Function&& function) {
  Table table{};
  for (int64_t value = 0; value < 256; ++value) {
    table[static_cast<size_t>(value)] = static_cast<uint8_t>(std::clamp<int64_t>(function(value), 0, 255));
  }
  return table;
}

Table unchanged() {
  return tabulate([](int64_t value) { return value; });
}

void map_bytes(std::span<uint8_t> bytes, const Table& table) {
  for (uint8_t& byte : bytes) byte = table[byte];
}

void map_bytes(std::span<uint8_t> bytes, const Tables& tables) {
  for (size_t i = 0; i < bytes.size(); i += 3) {
    for (size_t c = 0; c < 3; ++c) bytes[i + c] = tables[c][bytes[i + c]];
  }
}

std::array<Histogram, 3> histograms(std::span<const uint8_t> bytes) {
  std::array<Histogram, 3> counts{};
  for (size_t i = 0; i < bytes.size(); i += 3) {
    for (size_t c = 0; c < 3; ++c) ++counts[c][bytes[i + c]];
  }
  return counts;
}

int64_t least(const Histogram& counts) {
  return std::find_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0; }) - counts.begin();
}

int64_t largest(const Histogram& counts) {
  return 255 - (std::find_if(counts.rbegin(), counts.rend(), [](int64_t n) { return n > 0; }) - counts.rbegin());
}

}  // namespace

void autocontrast_(const torch::Tensor& pixels_HWC) {
  const auto bytes = bytes_of(pixels_HWC, "autocontrast");
  const auto counts = histograms(bytes);
  Tables tables{};
  for (size_t c = 0; c < 3; ++c) {
    const int64_t low = least(counts[c]), high = largest(counts[c]);
    if (high <= low) {
      tables[c] = unchanged();
      continue;
    }
    const double scale = 255.0 / static_cast<double>(high - low), offset = -static_cast<double>(low) * scale;
    tables[c] =
        tabulate([&](int64_t value) { return static_cast<int64_t>(static_cast<double>(value) * scale + offset); });
  }
  map_bytes(bytes, tables);
}

void equalize_(const torch::Tensor& pixels_HWC) {
  const auto bytes = bytes_of(pixels_HWC, "equalize");
  const auto counts = histograms(bytes);
  const auto pixels = static_cast<int64_t>(bytes.size() / 3);
  Tables tables{};
  for (size_t c = 0; c < 3; ++c) {
    const int64_t step = (pixels - counts[c][static_cast<size_t>(largest(counts[c]))]) / 255;
    if (step == 0) {
      tables[c] = unchanged();
      continue;
    }
    int64_t below = step / 2;
    tables[c] = tabulate([&](int64_t value) {
      const int64_t level = below / step;
      below += counts[c][static_cast<size_t>(value)];
      return level;
    });
  }
  map_bytes(bytes, tables);
}

void invert_(const torch::Tensor& pixels_HWC) {
  for (uint8_t& byte : bytes_of(pixels_HWC, "invert")) byte = static_cast<uint8_t>(255 - byte);
}

void posterize_(const torch::Tensor& pixels_HWC, int64_t bits) {
  require(bits >= 0 && bits <= 8, "posterize: expected 0 to 8 bits, got {}", bits);
  const int mask = ~((1 << (8 - bits)) - 1);
  for (uint8_t& byte : bytes_of(pixels_HWC, "posterize")) byte = static_cast<uint8_t>(byte & mask);
}

void solarize_(const torch::Tensor& pixels_HWC, int64_t threshold) {
  require(threshold >= 0 && threshold <= 256, "solarize: expected a threshold from 0 to 256, got {}", threshold);
  map_bytes(bytes_of(pixels_HWC, "solarize"),
            tabulate([&](int64_t value) { return value < threshold ? value : 255 - value; }));
}

void solarize_add_(const torch::Tensor& pixels_HWC, int64_t amount, int64_t threshold) {
  require(amount >= 0 && amount <= 255, "solarize: expected to add 0 to 255, got {}", amount);
  require(threshold >= 0 && threshold <= 256, "solarize: expected a threshold from 0 to 256, got {}", threshold);
  map_bytes(bytes_of(pixels_HWC, "solarize"),
            tabulate([&](int64_t value) { return value < threshold ? value + amount : value; }));
}

}  // namespace beit
