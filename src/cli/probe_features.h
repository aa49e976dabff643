// Features of training and validation images: from one pass over them, or from a file that an earlier probe of the same
// network made.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cli/feature_source.h"
#include "data/dataset.h"

namespace beit {

/// Of the two data sets, one tensor for each FeatureSet, on the CPU.
struct ProbeFeatures {
  std::vector<torch::Tensor> train, val;
};

/// How images are seen.
struct FeaturePass {
  const ModelOptions& model;  ///< resolved
  const DataOptions& data;
  int64_t batch_size;
  torch::Device device;
  std::function<void(int64_t images)> advance;  ///< told of each batch
};

/// Of every image, in the data set's order; float32, `patches` float16 in memory. The others lie in memory too, or,
/// where a folder is given, in nameless files there. Error for a damaged image, and as soon as the first batch shows
/// that memory or disk will not do.
ProbeFeatures extract_features(const FeatureSource& source, const Dataset& train, const Dataset& val,
                               const FeaturePass& pass, const std::filesystem::path& folder = {});

/// What cached features follow from: the weights' values, the images' paths and sizes, and how they are seen.
std::string cache_key(const LoadedBackbone& backbone, bool final_norm, const Dataset& train, const Dataset& val,
                      bool upright);

/// Written atomically, float32.
void write_feature_cache(const std::filesystem::path& path, const std::string& key, const std::vector<FeatureSet>& sets,
                         const ProbeFeatures& features);

/// The features of `sets`, which lie in the file and are read as they are used. Error where it was made for another
/// key, lacks one of them, or holds another number of rows than there are images.
ProbeFeatures read_feature_cache(const std::filesystem::path& path, const std::string& key,
                                 const std::vector<FeatureSet>& sets, int64_t train_images, int64_t val_images);

}  // namespace beit
