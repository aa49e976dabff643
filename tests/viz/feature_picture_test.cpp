#include "viz/feature_picture.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace beit {
namespace {

const Grid kGrid{2, 3};

/// The teacher's and the prediction's colours, [N, 3] each, of one image of 6 patches of one pixel.
std::pair<torch::Tensor, torch::Tensor> colours(const torch::Tensor& target_NF, const torch::Tensor& predicted_NF) {
  const auto picture_HWC =
      feature_picture(torch::zeros({1, 3, 2, 3}), target_NF.unsqueeze(0), predicted_NF.unsqueeze(0), kGrid);
  REQUIRE(picture_HWC.sizes() == torch::IntArrayRef({2, 3 * 3 + 2 * 4, 3}));
  const auto view = [&](int64_t left) {
    return picture_HWC.slice(1, left, left + 3).reshape({6, 3}).to(torch::kFloat64);
  };
  return {view(7), view(14)};
}

TEST_CASE("feature picture: a prediction of the teacher's directions has the teacher's colours, whatever its lengths") {
  torch::manual_seed(2);
  const auto target_NF = torch::randn({6, 5});
  const auto [teacher_N3, predicted_N3] = colours(target_NF, target_NF * torch::rand({6, 1}).add(0.1));
  CHECK(torch::equal(teacher_N3, predicted_N3));
  const auto [same_N3, other_N3] = colours(target_NF, torch::randn({6, 5}));
  CHECK(torch::equal(teacher_N3, same_N3));
  CHECK_FALSE(torch::equal(teacher_N3, other_N3));
}

TEST_CASE("feature picture: the colours are the first three principal components, strongest in red") {
  // Small turns about one direction: by up to 0.3 along the second axis, 0.1 and 0.03 along the next ones.
  const auto far_N = torch::tensor({1., -1., 0., 0., 1., -1.}), near_N = torch::tensor({1., 1., -1., -1., 0., 0.});
  const auto least_N = torch::tensor({1., -1., 1., -1., -1., 1.});
  const auto target_NF =
      torch::stack({torch::full({6}, 3.), far_N * 0.3, near_N * 0.1, least_N * 0.03, torch::zeros({6})}, 1);
  const auto [teacher_N3, predicted_N3] = colours(target_NF, target_NF);
  const auto [red, green, blue] = std::tuple(teacher_N3.select(1, 0), teacher_N3.select(1, 1), teacher_N3.select(1, 2));
  const auto correlation = [](const torch::Tensor& a, const torch::Tensor& b) {
    return torch::cosine_similarity(a - a.mean(), b - b.mean(), 0).item<double>();
  };
  CHECK(std::abs(correlation(red, far_N)) > 0.98);
  CHECK(std::abs(correlation(green, near_N)) > 0.98);
  CHECK(std::abs(correlation(blue, least_N)) > 0.9);
  CHECK(red.min().item<double>() == 0);
  CHECK(red.max().item<double>() == 255);
}

TEST_CASE("feature picture: narrow, constant and broken features give a picture, other shapes an Error") {
  const auto [narrow_N3, same_N3] = colours(torch::tensor({{1.}, {-1.}, {1.}, {1.}, {-1.}, {2.}}), torch::ones({6, 1}));
  CHECK(narrow_N3.select(1, 0)[0].item<double>() != narrow_N3.select(1, 0)[1].item<double>());
  CHECK(narrow_N3.select(1, 1).eq(128).all().item<bool>());
  colours(torch::ones({6, 4}), torch::full({6, 4}, std::nan("")));
  const auto images_BCHW = torch::zeros({1, 3, 2, 3});
  CHECK_THROWS_AS(feature_picture(images_BCHW, torch::ones({1, 6, 4}), torch::ones({1, 6, 5}), kGrid), Error);
  CHECK_THROWS_AS(feature_picture(images_BCHW, torch::ones({1, 4, 4}), torch::ones({1, 4, 4}), kGrid), Error);
  CHECK_THROWS_AS(feature_picture(images_BCHW, torch::ones({2, 6, 4}), torch::ones({2, 6, 4}), kGrid), Error);
}

TEST_CASE("codebook histogram: unused codes are at 0, and each further unit is ten times the uses") {
  const auto values_K = log_uses(torch::tensor({0, 9, 99999}));
  CHECK(torch::allclose(values_K, torch::tensor({0., 1., 5.}, torch::kFloat64)));
}

}  // namespace
}  // namespace beit
