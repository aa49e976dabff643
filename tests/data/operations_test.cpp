#include <doctest/doctest.h>

#include <functional>
#include <map>

#include "data/affine.h"
#include "data/augment.h"
#include "data/point_operations.h"
#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

using Operation = std::function<void(const torch::Tensor&, double)>;

std::map<std::string, Operation> operations(const Color& fill) {
  const auto whole = [](void (*operation)(const torch::Tensor&, int64_t)) -> Operation {
    return [operation](const torch::Tensor& pixels_HWC, double x) { operation(pixels_HWC, static_cast<int64_t>(x)); };
  };
  const auto plain = [](void (*operation)(const torch::Tensor&)) -> Operation {
    return [operation](const torch::Tensor& pixels_HWC, double) { operation(pixels_HWC); };
  };
  const auto filled = [fill](void (*operation)(const torch::Tensor&, double, const Color&)) -> Operation {
    return [operation, fill](const torch::Tensor& pixels_HWC, double x) { operation(pixels_HWC, x, fill); };
  };
  return {{"brightness", adjust_brightness_},
          {"contrast", adjust_contrast_},
          {"saturation", adjust_saturation_},
          {"sharpness", adjust_sharpness_},
          {"autocontrast", plain(autocontrast_)},
          {"equalize", plain(equalize_)},
          {"invert", plain(invert_)},
          {"posterize", whole(posterize_)},
          {"solarize", whole(solarize_)},
          {"solarize_add", [](const torch::Tensor& x, double v) { solarize_add_(x, static_cast<int64_t>(v)); }},
          {"rotate", filled(rotate_)},
          {"shear_x", filled(shear_x_)},
          {"shear_y", filled(shear_y_)},
          {"translate_x", filled(translate_x_)},
          {"translate_y", filled(translate_y_)}};
}

}  // namespace

TEST_CASE("operations: each is Pillow's at every pixel of a photograph") {
  const auto tensors = read_safetensors(golden("augment.safetensors")).tensors;
  const auto known = operations(kMeanColor);
  int compared = 0;
  for (const auto& [name, expected] : tensors) {
    if (!name.starts_with("out.") || name == "out.flip") continue;
    CAPTURE(name);
    const auto end = name.rfind('_');
    const bool has_number = end != std::string::npos && name.find_first_of("0123456789", end) != std::string::npos;
    const auto pixels_HWC = tensors.at("in.image").clone();
    known.at(name.substr(4, has_number ? end - 4 : std::string::npos))(
        pixels_HWC, has_number ? std::stod(name.substr(end + 1)) : 0.0);
    CHECK(torch::equal(pixels_HWC, expected));
    ++compared;
  }
  CHECK(compared == 19);
}

TEST_CASE("operations: each is Pillow's at every pixel of small, narrow and plain pictures") {
  const auto tensors = read_safetensors(golden("operations.safetensors")).tensors;
  const auto known = operations({7, 200, 99});
  int compared = 0;
  for (const auto& [name, expected] : tensors) {
    if (!name.starts_with("out.")) continue;
    CAPTURE(name);
    const auto picture_end = name.find('.', 4), operation_end = name.find('.', picture_end + 1);
    const auto pixels_HWC = tensors.at("in." + name.substr(4, picture_end - 4)).clone();
    known.at(name.substr(picture_end + 1, operation_end - picture_end - 1))(pixels_HWC,
                                                                            std::stod(name.substr(operation_end + 1)));
    CHECK(torch::equal(pixels_HWC, expected));
    ++compared;
  }
  CHECK(compared > 100);
}

TEST_CASE("operations: numbers that mean nothing are refused") {
  const auto pixels_HWC = picture(4, 5);
  CHECK_THROWS_AS(posterize_(pixels_HWC, 9), Error);
  CHECK_THROWS_AS(solarize_(pixels_HWC, 257), Error);
  CHECK_THROWS_AS(solarize_add_(pixels_HWC, -1), Error);
  CHECK_THROWS_AS(adjust_sharpness_(pixels_HWC, -0.1), Error);
  CHECK_THROWS_AS(rotate_(pixels_HWC, std::nan(""), kMeanColor), Error);
  CHECK_THROWS_AS(shear_x_(pixels_HWC, INFINITY, kMeanColor), Error);
  CHECK_THROWS_AS(invert_(torch::zeros({4, 4, 3})), Error);
  CHECK(torch::equal(pixels_HWC, picture(4, 5)));
}

TEST_CASE("operations: a map that leads out of every picture fills it") {
  const auto pixels_HWC = picture(4, 5);
  affine_(pixels_HWC, {.a = 1e308, .b = 1e308, .c = 1e308}, {1, 2, 3});
  CHECK(torch::equal(pixels_HWC, torch::tensor({1, 2, 3}, torch::kUInt8).expand({4, 5, 3})));
}
