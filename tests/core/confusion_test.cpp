#include "core/confusion.h"

#include <cmath>

#include "base/error.h"
#include "tests/core/golden.h"

namespace beit {
namespace {

// Counted by hand: rows of labels, columns of predictions, class 3 nowhere.
//   0: 2 right, 1 taken for 1; 1: 1 right, 1 taken for 0; 2: 1 taken for 1; two samples of no class.
const auto kLabels = torch::tensor({0, 0, 0, 1, 1, 2, 255, -1});
const auto kPredicted = torch::tensor({0, 0, 1, 1, 0, 1, 2, 0});

TEST_CASE("confusion: accuracies and mIoU of a case counted by hand") {
  Confusion confusion(4);
  confusion.add(kPredicted.slice(0, 0, 3), kLabels.slice(0, 0, 3));  // the whole set counts, not each part
  confusion.add(kPredicted.slice(0, 3), kLabels.slice(0, 3).to(torch::kInt32));
  CHECK(torch::equal(confusion.counts(),
                     torch::tensor({{2, 1, 0, 0}, {1, 1, 0, 0}, {0, 1, 0, 0}, {0, 0, 0, 0}}, torch::kInt64)));
  CHECK(confusion.accuracy() == doctest::Approx(100 * 3.0 / 6));
  CHECK(confusion.mean_accuracy() == doctest::Approx(100 * (2.0 / 3 + 1.0 / 2 + 0) / 3));
  CHECK(confusion.mean_iou() == doctest::Approx(100 * (2.0 / 4 + 1.0 / 4 + 0) / 3));
  CHECK(std::isnan(confusion.iou()[3].item<double>()));
  CHECK(std::isnan(confusion.class_accuracy()[3].item<double>()));
}

TEST_CASE("confusion: maps of bytes count like rows, and shapes that differ are refused") {
  Confusion rows(4), maps(4);
  rows.add(kPredicted.slice(0, 0, 6), kLabels.slice(0, 0, 6));
  maps.add(kPredicted.slice(0, 0, 6).view({2, 3}), kLabels.slice(0, 0, 6).to(torch::kUInt8).view({2, 3}));
  CHECK(torch::equal(rows.counts(), maps.counts()));
  CHECK_THROWS_AS(rows.add(kPredicted, kLabels.slice(0, 1)), Error);
}

}  // namespace
}  // namespace beit
