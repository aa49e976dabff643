#include "viz/atlas.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace beit {
namespace {

bool nearer(const CodeExample& a, const CodeExample& b) {
  return a.similarity != b.similarity ? a.similarity > b.similarity : a.place.image < b.place.image;
}

}  // namespace

AtlasBuilder::AtlasBuilder(int64_t codes, const Grid& grid, int64_t examples)
    : codes_(codes), patches_(grid.patches()), examples_(examples) {
  require(codes > 0 && patches_ > 0 && examples >= 0,
          "atlas: expected codes, patches and no less than 0 examples, got {}, {} and {}", codes, patches_, examples);
  uses_K_ = torch::zeros({codes}, torch::kInt64);
  images_K_ = torch::zeros({codes}, torch::kInt64);
  where_KN_ = torch::zeros({codes, patches_}, torch::kInt64);
  similarity_sum_K_ = torch::zeros({codes}, torch::kFloat64);
  nearest_K_.resize(static_cast<size_t>(codes));
  last_image_K_.resize(static_cast<size_t>(codes), -1);
  best_patch_K_.resize(static_cast<size_t>(codes));
}

void AtlasBuilder::add(const torch::Tensor& indices_B, const torch::Tensor& codes_BN,
                       const torch::Tensor& similarity_BN) {
  require(codes_BN.dim() == 2 && codes_BN.size(1) == patches_ && indices_B.dim() == 1 &&
              indices_B.size(0) == codes_BN.size(0) && similarity_BN.sizes() == codes_BN.sizes(),
          "atlas: expected indices [B], codes [B, {0}] and cosines [B, {0}], got [{1}], [{2}] and [{3}]", patches_,
          fmt::join(indices_B.sizes(), ", "), fmt::join(codes_BN.sizes(), ", "),
          fmt::join(similarity_BN.sizes(), ", "));
  if (codes_BN.size(0) == 0) return;
  const auto indices_on_cpu = indices_B.to(torch::kCPU, torch::kInt64);
  const auto codes_on_cpu = codes_BN.to(torch::kCPU, torch::kInt64);
  const auto similarity_on_cpu = similarity_BN.detach().to(torch::kCPU, torch::kFloat32);
  const auto least = codes_on_cpu.min().item<int64_t>(), most = codes_on_cpu.max().item<int64_t>();
  require(least >= 0 && most < codes_, "atlas: expected codes in [0, {}), got {} to {}", codes_, least, most);
  require(similarity_on_cpu.abs().le(1).all().item<bool>(),
          "atlas: expected cosines in [-1, 1], got others; does `beit inspect` find weights that are not finite?");

  const auto indices = indices_on_cpu.accessor<int64_t, 1>();
  const auto codes = codes_on_cpu.accessor<int64_t, 2>();
  const auto similarity = similarity_on_cpu.accessor<float, 2>();
  auto uses = uses_K_.accessor<int64_t, 1>();
  auto images = images_K_.accessor<int64_t, 1>();
  auto where = where_KN_.accessor<int64_t, 2>();
  auto sums = similarity_sum_K_.accessor<double, 1>();
  for (int64_t row = 0; row < codes.size(0); ++row, ++images_) {
    std::vector<int64_t> held;  // codes of this image
    for (int64_t patch = 0; patch < patches_; ++patch) {
      const int64_t code = codes[row][patch];
      const auto k = static_cast<size_t>(code);
      ++uses[code];
      ++where[code][patch];
      sums[code] += static_cast<double>(similarity[row][patch]);
      if (last_image_K_[k] != images_) {
        last_image_K_[k] = images_;
        best_patch_K_[k] = patch;
        held.push_back(code);
      } else if (similarity[row][patch] > similarity[row][best_patch_K_[k]]) {
        best_patch_K_[k] = patch;
      }
    }
    for (const int64_t code : held) {
      ++images[code];
      const int64_t patch = best_patch_K_[static_cast<size_t>(code)];
      offer(static_cast<size_t>(code), {{indices[row], patch}, similarity[row][patch]});
    }
  }
}

void AtlasBuilder::offer(size_t code, const CodeExample& example) {
  auto& nearest = nearest_K_[code];
  if (std::ssize(nearest) == examples_) {
    if (nearest.empty() || !nearer(example, nearest.back())) return;
    nearest.pop_back();
  }
  nearest.insert(std::ranges::upper_bound(nearest, example, nearer), example);
}

CodeAtlas AtlasBuilder::finish() {
  return {.uses_K = uses_K_,
          .images_K = images_K_,
          .where_KN = where_KN_,
          .examples = std::move(nearest_K_),
          .images = images_,
          .similarity_K = similarity_sum_K_ / uses_K_.clamp_min(1)};
}

}  // namespace beit
