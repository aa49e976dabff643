#include "data/rand_augment.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "data/augment.h"
#include "data/point_operations.h"

namespace beit {
namespace {

constexpr double kFullMagnitude = 10.0;
constexpr int64_t kMostLayers = 100;
constexpr const char* kKnown =
    "m (magnitude, 0 to 10), mstd (its deviation, 0 to 100), n (operations, 1 to 100), inc (0 or 1), "
    "p (probability, 0 to 1)";

// `part` is a key of letters and its value.
void set_option(RandAugmentOptions& options, std::string_view part, std::string_view text) {
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto key_end = std::find_if_not(part.begin(), part.end(), is_letter);
  const std::string_view key(part.begin(), key_end), digits(key_end, part.end());
  double value = 0.0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool is_number = error == std::errc{} && end == digits.data() + digits.size();
  const auto within = [&](double low, double high) { return is_number && value >= low && value <= high; };
  const bool is_whole = is_number && value == std::floor(value);
  if (key == "m" && within(0.0, kFullMagnitude)) {
    options.magnitude = value;
  } else if (key == "mstd" && within(0.0, 100.0)) {
    options.magnitude_std = value;
  } else if (key == "n" && within(1.0, kMostLayers) && is_whole) {
    options.layers = static_cast<int64_t>(value);
  } else if (key == "inc" && within(0.0, 1.0) && is_whole) {
    options.increasing = value == 1.0;
  } else if (key == "p" && within(0.0, 1.0)) {
    options.probability = value;
  } else {
    fail("RandAugment: expected parts of {}, got '{}' in '{}'; an example is rand-m9-mstd0.5-inc1", kKnown, part, text);
  }
}

}  // namespace

RandAugmentOptions parse_rand_augment(std::string_view text) {
  RandAugmentOptions options;
  if (text.empty() || text == "none") {
    options.layers = 0;
    return options;
  }
  std::string_view rest = text.substr(0, text.find('-'));
  require(rest == "rand", "RandAugment: expected rand, as in rand-m9-mstd0.5-inc1, or none, got '{}'", text);
  for (size_t at = rest.size(); at < text.size();) {
    const size_t end = std::min(text.find('-', at + 1), text.size());
    set_option(options, text.substr(at + 1, end - at - 1), text);
    at = end;
  }
  return options;
}

void apply_operation_(const torch::Tensor& pixels_HWC, RandAugmentOperation operation, double magnitude, bool negative,
                      const RandAugmentOptions& options) {
  require(magnitude >= 0.0 && magnitude <= kFullMagnitude, "RandAugment: expected a magnitude from 0 to {}, got {}",
          kFullMagnitude, magnitude);
  const double level = magnitude / kFullMagnitude, sign = negative ? -1.0 : 1.0;
  const auto factor = [&] {
    return options.increasing ? std::max(0.1, 1.0 + sign * (level * 0.9)) : level * 1.8 + 0.1;
  };
  const auto share = [&](int64_t whole) { return static_cast<int64_t>(level * static_cast<double>(whole)); };
  switch (operation) {
    case RandAugmentOperation::kAutoContrast: return autocontrast_(pixels_HWC);
    case RandAugmentOperation::kEqualize: return equalize_(pixels_HWC);
    case RandAugmentOperation::kInvert: return invert_(pixels_HWC);
    case RandAugmentOperation::kRotate: return rotate_(pixels_HWC, sign * (level * 30.0), options.fill);
    case RandAugmentOperation::kPosterize: return posterize_(pixels_HWC, options.increasing ? 4 - share(4) : share(4));
    case RandAugmentOperation::kSolarize:
      return solarize_(pixels_HWC, options.increasing ? 256 - share(256) : share(256));
    case RandAugmentOperation::kSolarizeAdd: return solarize_add_(pixels_HWC, share(110));
    case RandAugmentOperation::kColor: return adjust_saturation_(pixels_HWC, factor());
    case RandAugmentOperation::kContrast: return adjust_contrast_(pixels_HWC, factor());
    case RandAugmentOperation::kBrightness: return adjust_brightness_(pixels_HWC, factor());
    case RandAugmentOperation::kSharpness: return adjust_sharpness_(pixels_HWC, factor());
    case RandAugmentOperation::kShearX: return shear_x_(pixels_HWC, sign * (level * 0.3), options.fill);
    case RandAugmentOperation::kShearY: return shear_y_(pixels_HWC, sign * (level * 0.3), options.fill);
    case RandAugmentOperation::kTranslateX:
      return translate_x_(pixels_HWC, sign * (level * 0.45) * static_cast<double>(pixels_HWC.size(1)), options.fill);
    case RandAugmentOperation::kTranslateY:
      return translate_y_(pixels_HWC, sign * (level * 0.45) * static_cast<double>(pixels_HWC.size(0)), options.fill);
  }
}

void rand_augment_(const torch::Tensor& pixels_HWC, const RandAugmentOptions& options, Random& random) {
  require(
      options.layers >= 0 && options.magnitude_std >= 0.0 && options.probability >= 0.0 && options.probability <= 1.0,
      "RandAugment: expected layers and deviation of at least 0 and a probability in [0, 1], got {}, {} and {}",
      options.layers, options.magnitude_std, options.probability);
  for (int64_t layer = 0; layer < options.layers; ++layer) {
    const auto operation = static_cast<RandAugmentOperation>(random.integer(0, kRandAugmentOperations));
    if (random.uniform() >= options.probability) continue;
    const double magnitude = options.magnitude + options.magnitude_std * random.normal();
    const bool negative = random.uniform() < 0.5;
    apply_operation_(pixels_HWC, operation, std::clamp(magnitude, 0.0, kFullMagnitude), negative, options);
  }
}

}  // namespace beit
