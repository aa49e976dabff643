// Which classes a classifier takes for which.
#pragma once

#include <cstdint>
#include <vector>

#include "core/confusion.h"
#include "data/dataset.h"
#include "train/models.h"

namespace beit {

/// Over the evaluation views of all images of a class, or of `most` drawn always alike. `outputs`: the classifier's
/// output of each of the data's classes. Damaged images are named in the log and left out. The network lies on
/// `device`, in eval().
Confusion class_confusion(const LoadedClassifier& classifier, const Dataset& images,
                          const std::vector<int64_t>& outputs, int64_t most, const DataOptions& data,
                          int64_t batch_size, const torch::Device& device, bool quiet);

}  // namespace beit
