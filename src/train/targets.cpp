#include "train/targets.h"

#include <fmt/ranges.h>

#include <filesystem>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/log.h"
#include "core/send.h"
#include "io/atomic_file.h"
#include "io/name_map.h"
#include "io/weights.h"
#include "train/evaluation.h"
#include "train/network_file.h"
#include "train/progress.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBatch = 16;  // images that the teacher sees at a time
constexpr const char* kFeatures = "features";

TensorFile teacher_file(const TeacherChoice& choice) {
  return choice.teacher_weights.empty() ? TensorFile{} : read_weights(choice.teacher_weights);
}

/// What the features of a cache depend on: the weights, the images' paths and sizes, and how they are seen.
std::string cache_key(const TeacherChoice& choice, const ModelOptions& model, const Dataset& images, bool upright) {
  Fingerprint weights, data;
  for (const auto& [name, tensor] : teacher_file(choice).tensors) {
    const auto values = tensor.contiguous();
    weights.add(
        fmt::format("{} {} [{}]\n", name, torch::toString(values.scalar_type()), fmt::join(values.sizes(), ", ")));
    weights.add(std::span(static_cast<const uint8_t*>(values.const_data_ptr()), values.nbytes()));
  }
  for (int64_t i = 0; i < images.size(); ++i) data.add(fmt::format("{} {}\n", images.path(i), images.bytes(i)));
  return fmt::format("teacher {} of weights {:x} at {} pixels, images of {} in patches of {}, {} images {:x}{}",
                     choice.teacher, weights.value(), choice.teacher_image_size, model.image_size, model.patch_size,
                     images.size(), data.value(), upright ? ", turned upright" : "");
}

torch::Tensor read_cache(const fs::path& path, const std::string& key, torch::IntArrayRef shape) {
  const TensorFile file = read_safetensors(path);
  const auto made_for = file.metadata.find("made_for");
  require(made_for != file.metadata.end() && made_for->second == key,
          "{}: expected features made for: {}; got: {}; name another --teacher-cache, or remove the file",
          path.string(), key, made_for == file.metadata.end() ? "another file" : made_for->second);
  const auto features = file.tensors.find(kFeatures);
  require(features != file.tensors.end() && features->second.scalar_type() == torch::kFloat16 &&
              features->second.sizes() == shape,
          "{}: expected features of shape [{}] in float16, got another tensor; remove the file", path.string(),
          fmt::join(shape, ", "));
  return features->second;
}

}  // namespace

std::shared_ptr<Teacher> load_teacher(const TeacherChoice& choice, const ModelOptions& model) {
  const TensorFile file = teacher_file(choice);
  const LibraryConfig config = library_config(file, choice.teacher_weights);
  require(choice.teacher != "clip" || config.activation.empty() || config.activation == "quick_gelu",
          "{}: expected CLIP with quick_gelu, as OpenAI trained it, got {}; use another --teacher-weights",
          choice.teacher_weights, config.activation);
  if (choice.teacher == "clip" || choice.teacher == "dino") {
    const Network network = choice.teacher == "clip" ? Network::kClip : Network::kDino;
    for (const auto& assumed : assumed_of_teacher(network, config))
      log().info("{}: assumed {}", choice.teacher_weights, assumed);
  }
  return make_teacher({.kind = choice.teacher,
                       .image_size = choice.teacher_image_size,
                       .patch_size = model.patch_size,
                       .heads = config.heads},
                      grid_of(model), reference_names(file, choice.teacher_weights).tensors);
}

Targets::Targets(const TeacherChoice& choice, const ModelOptions& model, const Dataset& images, const DataOptions& data,
                 const torch::Device& device)
    : teacher_(load_teacher(choice, model)), device_(device), width_(teacher_->width()) {
  teacher_->to(device);
  const std::string key = choice.teacher_cache.empty() ? "" : cache_key(choice, model, images, data.apply_orientation);
  if (!key.empty() && fs::exists(choice.teacher_cache)) {
    cache_RNF_ = read_cache(choice.teacher_cache, key, {2 * images.size(), grid_of(model).patches(), width_});
    return;
  }
  if (!key.empty()) require_writable(choice.teacher_cache);
  LoaderOptions loading = evaluation_loading(data, kBatch, OnDamage::kSkip);
  if (teacher_->standardised()) loading.order.shuffle = Shuffle::kFull;
  Loader loader(images, evaluation_transform(model), loading);
  std::vector<torch::Tensor> first_BNF;
  if (teacher_->standardised()) {
    loader.start(/*epoch=*/0);
    ChannelMoments moments(width_);
    for (int64_t seen = 0; seen < std::min(images.size(), kStatisticsImages); seen += kBatch) {
      const auto batch = loader.next();
      if (!batch) break;
      const auto target_BNF = teacher_->target(batch->views[0].to(device_));
      moments.add(target_BNF);
      if (!key.empty()) first_BNF.push_back(target_BNF.to(torch::kCPU));
    }
    statistics_ = moments.statistics();
  }
  if (key.empty()) return;
  cache_RNF_ = compute_all(loader, images.size(), grid_of(model).patches(), first_BNF);
  write_safetensors(choice.teacher_cache, {{kFeatures, cache_RNF_}}, {{"format", "beit"}, {"made_for", key}});
}

torch::Tensor Targets::standardised(const torch::Tensor& target_BNF) const {
  return statistics_ ? statistics_->standardise(target_BNF) : target_BNF;
}

torch::Tensor Targets::compute(const torch::Tensor& images_BCHW) {
  const torch::NoGradGuard no_grad;
  return standardised(teacher_->target(images_BCHW));
}

torch::Tensor Targets::compute_all(Loader& loader, int64_t images, int64_t patches,
                                   std::vector<torch::Tensor>& first_BNF) {
  auto all_RNF = torch::zeros({2 * images, patches, width_}, torch::kFloat16);
  const auto write = [&](const torch::Tensor& row_B, const torch::Tensor& target_BNF) {
    all_RNF.index_copy_(0, row_B, target_BNF.to(torch::kCPU, torch::kFloat16));
  };
  loader.start(/*epoch=*/0);
  Progress progress(0, images, 1, log().should_log(spdlog::level::info));
  int64_t done = 0;
  for (size_t i = 0; const auto batch = loader.next(); ++i) {
    const auto images_BCHW = batch->views[0].to(device_);
    const auto row_B = batch->indices_B * 2;
    if (i < first_BNF.size()) {
      write(row_B, standardised(std::exchange(first_BNF[i], {}).to(device_)));
    } else {
      write(row_B, compute(images_BCHW));
    }
    write(row_B + 1, compute(images_BCHW.flip(-1)));
    progress.show(done += row_B.size(0), "the teacher's features");
  }
  progress.clear();
  log().info("the teacher's features of {} images and their mirror images, {:.0f} images/s", done,
             progress.images_per_s(done));
  return all_RNF;
}

torch::Tensor Targets::of(const torch::Tensor& images_BCHW, const torch::Tensor& indices_B,
                          const torch::Tensor& mirrored_B) {
  if (!cache_RNF_.defined()) return compute(images_BCHW);
  const auto row_B = indices_B * 2 + mirrored_B.to(torch::kCPU, torch::kInt64);
  return send(cache_RNF_.index_select(0, row_B), device_).to(torch::kFloat32);
}

}  // namespace beit
