// The atlas of a codebook: how often a set of images uses each code, where in the image, and which patches lie nearest.
// Shape letters: B images of a batch, N patches of an image, K codes.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "base/grid.h"
#include "viz/picture.h"

namespace beit {

struct CodeExample {
  PatchPlace place = {};
  float similarity = 0;  ///< cosine of the patch's encoded vector and its code
};

/// All on the CPU.
struct CodeAtlas {
  torch::Tensor uses_K;                            ///< int64 [K], patches
  torch::Tensor images_K;                          ///< int64 [K], images that hold it
  torch::Tensor where_KN;                          ///< int64 [K, N], uses by patch position
  std::vector<std::vector<CodeExample>> examples;  ///< of each code the patches nearest to it, one an image, falling
                                                   ///< similarity; equals in the order of their images
  int64_t images = 0;
  torch::Tensor similarity_K = {};  ///< float64 [K], mean over its uses; 0 where there are none
};

/// Makes an atlas batch by batch. It holds K * (N + examples) entries, however many images there are; the result does
/// not depend on their order. Not thread-safe.
class AtlasBuilder {
 public:
  /// Of `examples` patches nearest to each code, at most; 0 keeps none.
  AtlasBuilder(int64_t codes, const Grid& grid, int64_t examples);

  /// Images that were not added before. indices_B: int64, their numbers in the data set; codes_BN: int, each in
  /// [0, K); similarity_BN: float, cosines. Any device. Error for other shapes, codes and cosines.
  void add(const torch::Tensor& indices_B, const torch::Tensor& codes_BN, const torch::Tensor& similarity_BN);

  /// Called once, after the last add().
  CodeAtlas finish();

 private:
  void offer(size_t code, const CodeExample& example);

  int64_t codes_, patches_, examples_, images_ = 0;
  torch::Tensor uses_K_, images_K_, where_KN_, similarity_sum_K_;
  std::vector<std::vector<CodeExample>> nearest_K_;
  std::vector<int64_t> last_image_K_, best_patch_K_;  // the last image that holds a code, and its nearest patch there
};

}  // namespace beit
