#include "cli/probe_features.h"

#include <utility>

#include "base/error.h"
#include "base/fingerprint.h"
#include "cli/feature_rows.h"
#include "io/weights.h"
#include "train/evaluation.h"

namespace beit {
namespace {

std::string images_key(const Dataset& images, std::string_view what) {
  Fingerprint print;
  for (int64_t i = 0; i < images.size(); ++i) print.add(fmt::format("{} {}\n", images.path(i), images.bytes(i)));
  return fmt::format("{} {} images {:x}", images.size(), what, print.value());
}

void require_room(const std::vector<FeatureRows>& rows, const std::vector<torch::Tensor>& features, int64_t images,
                  const std::filesystem::path& folder) {
  int64_t memory_bytes = 0, disk_bytes = 0;
  for (size_t i = 0; i < rows.size(); ++i)
    (rows[i].in_memory() ? memory_bytes : disk_bytes) += images * rows[i].row_bytes(features[i]);
  require_memory(memory_bytes, fmt::format("the features of {} images", images),
                 folder.empty() ? "fewer --layer, no --attentive, or --cache FILE, which keeps pooled features on disk"
                                : "--attentive of fewer --layer, or without it");
  if (disk_bytes > 0) require_disk(folder, 2 * disk_bytes, "the features");
}

/// `images_in_all`: of both data sets.
std::vector<torch::Tensor> features_of(const Dataset& images, const FeatureSource& source, const FeaturePass& pass,
                                       const std::filesystem::path& folder, int64_t images_in_all) {
  std::vector<FeatureRows> rows;
  for (const FeatureSet& set : source.sets) {
    if (set.pooling == "patches") {
      rows.emplace_back(images.size(), torch::kFloat16);
    } else if (folder.empty()) {
      rows.emplace_back(images.size(), torch::kFloat32);
    } else {
      rows.emplace_back(folder, torch::kFloat32);
    }
  }
  Loader loader(images, evaluation_transform(pass.model), evaluation_loading(pass.data, pass.batch_size));
  loader.start(/*epoch=*/0);
  bool first = true;
  while (const auto batch = loader.next()) {
    const auto features = source.of(batch->views[0].to(pass.device));
    if (std::exchange(first, false)) require_room(rows, features, images_in_all, folder);
    for (size_t i = 0; i < rows.size(); ++i) rows[i].append(features[i]);
    pass.advance(batch->indices_B.size(0));
  }
  std::vector<torch::Tensor> all;
  for (const FeatureRows& one : rows) all.push_back(one.tensor());
  return all;
}

}  // namespace

ProbeFeatures extract_features(const FeatureSource& source, const Dataset& train, const Dataset& val,
                               const FeaturePass& pass, const std::filesystem::path& folder) {
  ProbeFeatures features;
  features.train = features_of(train, source, pass, folder, train.size() + val.size());
  features.val = features_of(val, source, pass, folder, val.size());
  return features;
}

std::string cache_key(const LoadedBackbone& backbone, bool final_norm, const Dataset& train, const Dataset& val,
                      bool upright) {
  Fingerprint weights;
  for (const auto& [name, tensor] : state_dict(*backbone.model)) {
    const auto values = tensor.to(torch::kCPU).contiguous();
    weights.add(
        fmt::format("{} {} [{}]\n", name, torch::toString(values.scalar_type()), fmt::join(values.sizes(), ", ")));
    weights.add(std::span(static_cast<const uint8_t*>(values.const_data_ptr()), values.nbytes()));
  }
  return fmt::format("weights {:x}, {} heads, at {} pixels{}{}, {}, {}{}", weights.value(), backbone.options.heads,
                     backbone.options.image_size, backbone.input == InputForm::kDefault ? " as 2 x - 1" : "",
                     final_norm ? " with the final norm" : "", images_key(train, "training"),
                     images_key(val, "validation"), upright ? ", turned upright" : "");
}

void write_feature_cache(const std::filesystem::path& path, const std::string& key, const std::vector<FeatureSet>& sets,
                         const ProbeFeatures& features) {
  TensorMap tensors;
  for (size_t i = 0; i < sets.size(); ++i) {
    tensors.emplace("train." + sets[i].name(), features.train[i]);
    tensors.emplace("val." + sets[i].name(), features.val[i]);
  }
  write_safetensors(path, tensors, {{"format", "beit"}, {"command", "probe"}, {"made_for", key}});
}

ProbeFeatures read_feature_cache(const std::filesystem::path& path, const std::string& key,
                                 const std::vector<FeatureSet>& sets, int64_t train_images, int64_t val_images) {
  const TensorFile file = read_safetensors(path);
  const auto made_for = file.metadata.find("made_for");
  require(made_for != file.metadata.end() && made_for->second == key,
          "{}: expected features made for: {}; got: {}; name another --cache, or remove the file", path.string(), key,
          made_for == file.metadata.end() ? "another file" : on_one_line(made_for->second));
  const auto rows_of = [&](const std::string& name, int64_t images) {
    const auto found = file.tensors.find(name);
    require(found != file.tensors.end(),
            "{}: expected {}, got features of other layers or poolings; name another "
            "--cache, or remove the file and ask for all layers at first",
            path.string(), name);
    const torch::Tensor& rows = found->second;
    require(rows.dim() == 2 && rows.size(0) == images && rows.scalar_type() == torch::kFloat32,
            "{}: {}: expected float32 [{}, F], got {} [{}]; remove the file", path.string(), name, images,
            torch::toString(rows.scalar_type()), fmt::join(rows.sizes(), ", "));
    return rows;
  };
  ProbeFeatures features;
  for (const FeatureSet& set : sets) {
    features.train.push_back(rows_of("train." + set.name(), train_images));
    features.val.push_back(rows_of("val." + set.name(), val_images));
  }
  return features;
}

}  // namespace beit
