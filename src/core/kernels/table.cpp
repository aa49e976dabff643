#include <ATen/cpu/vec/vec.h>

#include "core/kernels.h"
#include "core/kernels/adamw.h"
#include "core/kernels/attention.h"
#include "core/kernels/cross_entropy.h"
#include "core/kernels/gelu.h"
#include "core/kernels/layer_norm.h"
#include "core/kernels/nearest.h"
#include "core/kernels/transpose.h"

namespace beit::CPU_CAPABILITY {

extern const Kernels table;
const Kernels table{
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .layer_norm = layer_norm,
    .layer_norm_backward = layer_norm_backward,
    .transpose = transpose,
    .attention_scratch = attention_scratch,
    .attention = attention,
    .attention_backward = attention_backward,
    .nearest = nearest,
    .cross_entropy = cross_entropy,
    .adamw = adamw,
    .sum_squares = sum_squares,
    .in_vectors = at::vec::is_vec_specialized_for_v<float>,
};

}  // namespace beit::CPU_CAPABILITY
