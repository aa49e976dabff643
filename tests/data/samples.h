// Small images, files and archives that the tests of this level are made of.
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "data/augment.h"
#include "data/encoded_image.h"
#include "data/image.h"

namespace beit {

/// Smooth colours with some noise; another picture for each number.
inline torch::Tensor picture(int64_t height, int64_t width, uint64_t number = 0) {
  Random random(number, 0, 0, Purpose::kWeights);
  auto pixels_HWC = torch::empty({height, width, 3}, torch::kUInt8);
  auto* out = pixels_HWC.mutable_data_ptr<uint8_t>();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) *out++ = static_cast<uint8_t>((7 * x + 5 * y * c + random.integer(0, 60)) & 255);
    }
  }
  return pixels_HWC;
}

/// Pixels as a file in memory.
class PngImage {
 public:
  explicit PngImage(const torch::Tensor& pixels_HWC) : bytes_(encode_png(pixels_HWC)), image(bytes_, "picture.png") {}

 private:
  std::vector<uint8_t> bytes_;

 public:
  EncodedImage image;
};

inline void write_bytes(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
}

inline void write_png(const std::filesystem::path& path, const torch::Tensor& pixels_HWC) {
  write_bytes(path, encode_png(pixels_HWC));
}

/// Colour jitter step by step, as the published pipeline does it.
inline void color_jitter_(const torch::Tensor& pixels_HWC, double strength, Random& random) {
  if (strength == 0.0) return;
  constexpr std::array operations{adjust_brightness_, adjust_contrast_, adjust_saturation_};
  for (const int64_t operation : random.permutation(std::ssize(operations))) {
    const double factor = random.uniform(std::max(0.0, 1.0 - strength), 1.0 + strength);
    operations[static_cast<size_t>(operation)](pixels_HWC, factor);
  }
}

inline std::vector<uint8_t> bytes_of(const torch::Tensor& tensor) {
  const auto* data = tensor.const_data_ptr<uint8_t>();
  return {data, data + tensor.numel()};
}

/// One member: a header as `tar` writes it, the bytes, padding. `type` as in the format, '0' a file.
inline std::vector<uint8_t> tar_member(const std::string& name, std::span<const uint8_t> bytes, char type = '0',
                                       const std::string& link = "") {
  std::vector<uint8_t> out(512);
  const auto put = [&](size_t at, const std::string& text) {
    std::copy(text.begin(), text.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0, name);
  put(100, "0000644");
  put(124, fmt::format("{:011o}", bytes.size()));
  put(148, "        ");
  out[156] = static_cast<uint8_t>(type);
  put(157, link);
  put(257, std::string("ustar\0"
                       "00",
                       8));
  int sum = 0;
  for (const uint8_t byte : out) sum += byte;
  put(148, fmt::format("{:06o}", sum));
  out[154] = 0;
  out.insert(out.end(), bytes.begin(), bytes.end());
  out.resize((out.size() + 511) / 512 * 512);
  return out;
}

/// The members, one after another, and the closing blocks.
inline std::vector<uint8_t> tar(const std::vector<std::vector<uint8_t>>& members) {
  std::vector<uint8_t> out;
  for (const auto& member : members) out.insert(out.end(), member.begin(), member.end());
  out.resize(out.size() + 1024);
  return out;
}

/// What the Error says that `action` throws; empty where it throws none.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace beit
