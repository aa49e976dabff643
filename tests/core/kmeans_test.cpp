// Shape letters: M rows, K codes, D width.
#include "core/kmeans.h"

#include "tests/core/golden.h"
#include "tests/support.h"

namespace beit {
namespace {

torch::Tensor unit_rows(int64_t rows, int64_t width) {
  const auto x_MD = torch::randn({rows, width});
  return x_MD / x_MD.norm(2, 1, true);
}

TEST_CASE("kmeans: equals the oracle") {
  const auto file = read_safetensors(golden("kmeans.safetensors")).tensors;
  for (const std::string form : {"", "_few"}) {
    CAPTURE(form);
    const auto found = kmeans(file.at("in.x" + form), file.at("in.init" + form), 10);
    CHECK(difference(found.means_KD, file.at("out.means" + form)) < 1e-5);
    CHECK(torch::equal(found.counts_K, file.at("out.counts" + form)));
  }
}

TEST_CASE("kmeans: a mean without rows keeps its vector") {
  // Two equal starts: the first of equals wins, and the second has no row.
  const auto z_MD = torch::tensor({{1.0F, 0.0F}, {0.8F, 0.6F}, {0.0F, 1.0F}});
  const auto found = kmeans(z_MD, torch::tensor({0, 0, 2}), 1);
  CHECK(torch::equal(found.counts_K, torch::tensor({2, 0, 1})));
  CHECK(torch::equal(found.means_KD[1], z_MD[0]));
}

TEST_CASE("nearest_codes: the Euclidean order, whatever the codes' lengths") {
  torch::manual_seed(1);
  const auto z_MD = unit_rows(200, 6), codes_KD = torch::randn({31, 6}) * torch::rand({31, 1}) * 3;
  CHECK(torch::equal(nearest_codes(z_MD, codes_KD), torch::cdist(z_MD, codes_KD).argmin(1)));
}

TEST_CASE("nearest_codes: the first of equal codes wins") {
  const auto codes_KD = torch::tensor({{0.0F, 1.0F}, {1.0F, 0.0F}, {1.0F, 0.0F}, {0.0F, 1.0F}});
  CHECK(torch::equal(nearest_codes(torch::tensor({{1.0F, 0.0F}, {0.0F, 1.0F}}), codes_KD), torch::tensor({1, 0})));
}

TEST_CASE("nearest_codes: borders of what is searched at once do not show, in float32 and float64") {
  // 2^20 scores at once in float64: 256 rows of 4090 codes, the last slice not full; nor is the last tile of codes.
  torch::manual_seed(2);
  const auto z_MD = unit_rows(3 * 256 + 17, 8), codes_KD = unit_rows(4090, 8);
  const auto distance_MK = torch::cdist(z_MD.to(torch::kFloat64), codes_KD.to(torch::kFloat64));
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    const auto ids_M = nearest_codes(z_MD.to(type), codes_KD.to(type));
    CHECK(torch::equal(ids_M, distance_MK.argmin(1)));
    CHECK(torch::equal(ids_M.slice(0, 100, 400), nearest_codes(z_MD.slice(0, 100, 400).to(type), codes_KD.to(type))));
  }
  const auto strided_MD = z_MD.t().contiguous().t();
  CHECK(torch::equal(nearest_codes(strided_MD, codes_KD.t().contiguous().t()), distance_MK.argmin(1)));
}

TEST_CASE("sum_by_code: each code's sum of rows, zero for a code without") {
  torch::manual_seed(3);
  const auto z_MD = torch::randn({40, 5});
  const auto ids_M = torch::randint(6, {40}, torch::kInt64);
  const auto expected_KD = torch::zeros({7, 5}).index_add(0, ids_M, z_MD);
  CHECK(difference(sum_by_code(z_MD, ids_M, 7), expected_KD) < 1e-6);
  CHECK(torch::equal(sum_by_code(z_MD, ids_M, 7)[6], torch::zeros(5)));
}

}  // namespace
}  // namespace beit
