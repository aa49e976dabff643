#include "data/mask.h"

#include <doctest/doctest.h>

#include "tests/data/samples.h"

using namespace beit;

namespace {

// Share of masked patches whose right neighbour is masked too.
double clumping(const torch::Tensor& mask_N, const Grid& grid) {
  const auto mask = mask_N.view({grid.rows, grid.columns});
  const auto left = mask.slice(1, 0, grid.columns - 1), right = mask.slice(1, 1, grid.columns);
  return (left & right).sum().item<double>() / mask.sum().item<double>();
}

}  // namespace

TEST_CASE("mask: exactly the stated number of patches is masked, on any grid") {
  struct Case {
    Grid grid;
    MaskOptions options;
  };
  const std::vector<Case> cases{{{14, 14}, {}},
                                {{8, 8}, {.masked = 26, .min_block = 16}},
                                {{8, 8}, {.masked = 26, .min_block = 4}},
                                {{7, 20}, {.masked = 56}},
                                {{14, 14}, {.masked = 196}},
                                {{14, 14}, {.masked = 0}},
                                {{1, 9}, {.masked = 4}},
                                {{2, 2}, {.masked = 1, .min_block = 1}},
                                {{14, 14}, {.masked = 3, .min_aspect = 1.0}}};
  for (const auto& [grid, options] : cases) {
    CAPTURE(grid.rows);
    CAPTURE(grid.columns);
    CAPTURE(options.masked);
    for (uint64_t index = 0; index < 2000; ++index) {
      Random random(0, 0, index, Purpose::kMask);
      const auto mask_N = block_mask(grid, options, random);
      REQUIRE((mask_N.scalar_type() == torch::kBool));
      REQUIRE(mask_N.sizes() == torch::IntArrayRef({grid.patches()}));
      REQUIRE(mask_N.sum().item<int64_t>() == options.masked);
    }
  }
}

TEST_CASE("mask: it is a function of the stream, covers the whole grid and comes in blocks") {
  const Grid grid{14, 14};
  auto counts_N = torch::zeros({grid.patches()});
  double clumped = 0.0;
  constexpr int64_t kDraws = 2000;
  for (uint64_t index = 0; index < kDraws; ++index) {
    Random random(0, 0, index, Purpose::kMask), same(0, 0, index, Purpose::kMask);
    const auto mask_N = block_mask(grid, {}, random);
    REQUIRE(torch::equal(mask_N, block_mask(grid, {}, same)));
    counts_N += mask_N;
    clumped += clumping(mask_N, grid);
  }
  const auto shares_N = counts_N / kDraws;
  CHECK(shares_N.min().item<double>() > 0.03);  // corners are covered by fewer blocks
  CHECK(shares_N.max().item<double>() < 0.75);
  CHECK((shares_N.mean().item<double>() > 0.382 && shares_N.mean().item<double>() < 0.383));  // 75 of 196
  CHECK(clumped / kDraws > 0.65);  // patches drawn one by one: 0.36
  const auto upside_down_N = shares_N.view({14, 14}).flip({0}).reshape({-1});
  CHECK((shares_N - upside_down_N).abs().max().item<double>() < 0.08);  // no side is preferred
}

TEST_CASE("mask: what cannot be is refused") {
  Random random(0, 0, 0, Purpose::kMask);
  CHECK(contains(error_of([&] {
                   block_mask({8, 8}, {.masked = 75}, random);
                 }),
                 "mask: expected 0 to 64 masked patches"));
  CHECK_THROWS_AS(block_mask({8, 8}, {.masked = 5, .min_block = 0}, random), Error);
  CHECK_THROWS_AS(block_mask({8, 8}, {.masked = 5, .min_aspect = 0.0}, random), Error);
}
