// Cosine k-means and the search for the nearest code, both without ever holding a whole rows-by-codes matrix.
// Shape letters: M rows, K codes, D width.
#pragma once

#include <torch/torch.h>

namespace beit {

/// int64 [M]: for each row of z the code with the smallest |w|^2 - 2 z w, the first of equals.
/// For rows of unit length this is the Euclidean order. Memory: a few MiB and a copy of the codes, whatever M.
torch::Tensor nearest_codes(const torch::Tensor& z_MD, const torch::Tensor& codes_KD);

/// [K, D]: the sum of the rows that each code was given.
torch::Tensor sum_by_code(const torch::Tensor& z_MD, const torch::Tensor& ids_M, int64_t codes);

struct KMeans {
  torch::Tensor means_KD;  ///< unit length
  torch::Tensor counts_K;  ///< int64, rows of each mean in the last iteration
};

/// Cosine k-means of unit rows from the rows `start_K`. A mean without rows keeps its vector.
KMeans kmeans(const torch::Tensor& z_MD, const torch::Tensor& start_K, int64_t iterations = 10);

}  // namespace beit
