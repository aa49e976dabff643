// What a frozen network is shown of an image: the same for every command that measures.
#pragma once

#include "base/config.h"
#include "data/loader.h"
#include "data/views.h"

namespace beit {

/// The evaluation view (data/views.h) at the model's size, float32 [3, H, W]. `model` must be resolved.
Transform evaluation_transform(const ModelOptions& model, const PixelScale& scale = kUnitScale);

/// As --decode says it.
Decoding decoding_of(const DataOptions& data);

/// Starts the copy of a batch's tensor. From pinned memory it goes on while the device computes.
torch::Tensor on_device(const torch::Tensor& view, const torch::Device& device);

/// Every image once, of all ranks together, in the data set's order; the first that is damaged is an Error, or all are
/// left out.
LoaderOptions evaluation_loading(const DataOptions& data, int64_t batch_size, OnDamage on_damage = OnDamage::kFail,
                                 int64_t rank = 0, int64_t ranks = 1);

}  // namespace beit
