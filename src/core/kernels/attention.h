// Attention of one head of one image; core/kernels.h says what each does.
#pragma once

#include "core/kernels.h"

namespace beit::CPU_CAPABILITY {

int64_t attention_scratch(int64_t tokens, int64_t width);
void attention(const AttentionHead& head, const Rows& y, float* log_sums, float* scratch);
void attention_backward(const AttentionHead& head, const float* log_sums, const ConstRows& grad_y,
                        const AttentionGradients& gradients, float* scratch);

}  // namespace beit::CPU_CAPABILITY
