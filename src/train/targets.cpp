#include "train/targets.h"

#include <filesystem>

#include "base/error.h"
#include "base/log.h"
#include "data/loader.h"
#include "io/atomic_file.h"
#include "io/weights.h"
#include "train/evaluation.h"
#include "train/progress.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBatch = 16;  // images that the teacher sees at a time
constexpr const char* kFeatures = "features";

/// FNV-1a over all paths: tells data sets apart.
uint64_t fingerprint(const Dataset& images) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (int64_t i = 0; i < images.size(); ++i) {
    for (const char c : images.path(i)) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
    hash = (hash ^ '\n') * 0x100000001b3ULL;
  }
  return hash;
}

/// What the features of a cache depend on.
std::string cache_key(const TeacherChoice& choice, const ModelOptions& model, const Dataset& images) {
  const auto weights_bytes = choice.teacher_weights.empty() ? 0 : fs::file_size(choice.teacher_weights);
  return fmt::format(
      "teacher {} of {} bytes at {} pixels, images of {} in patches of {}, {} images of fingerprint {:x}",
      choice.teacher, weights_bytes, choice.teacher_image_size, model.image_size, model.patch_size, images.size(),
      fingerprint(images));
}

torch::Tensor read_cache(const fs::path& path, const std::string& key) {
  const TensorFile file = read_safetensors(path);
  const auto made_for = file.metadata.find("made_for");
  require(made_for != file.metadata.end() && made_for->second == key && file.tensors.contains(kFeatures),
          "{}: expected features made for: {}; got: {}; name another --teacher-cache, or remove the file",
          path.string(), key, made_for == file.metadata.end() ? "another file" : made_for->second);
  return file.tensors.at(kFeatures);
}

}  // namespace

std::shared_ptr<Teacher> load_teacher(const TeacherChoice& choice, const ModelOptions& model) {
  const TensorMap weights = choice.teacher_weights.empty() ? TensorMap{} : read_weights(choice.teacher_weights).tensors;
  return make_teacher({.kind = choice.teacher, .image_size = choice.teacher_image_size, .patch_size = model.patch_size},
                      grid_of(model), weights);
}

Targets::Targets(const TeacherChoice& choice, const ModelOptions& model, const Dataset& images, int64_t workers,
                 const torch::Device& device)
    : teacher_(load_teacher(choice, model)), device_(device), width_(teacher_->width()) {
  teacher_->to(device);
  const std::string key = choice.teacher_cache.empty() ? "" : cache_key(choice, model, images);
  if (!key.empty() && fs::exists(choice.teacher_cache)) {
    cache_RNF_ = read_cache(choice.teacher_cache, key);
    return;
  }
  if (teacher_->standardised()) {
    Loader loader(images, evaluation_transform(model),
                  {.batch_size = kBatch, .workers = workers, .drop_last = false, .on_damage = OnDamage::kSkip});
    loader.start(/*epoch=*/0);
    ChannelMoments moments(width_);
    for (int64_t seen = 0; seen < std::min(images.size(), kStatisticsImages); seen += kBatch) {
      const auto batch = loader.next();
      if (!batch) break;
      moments.add(teacher_->target(batch->views[0].to(device_)));
    }
    statistics_ = moments.statistics();
  }
  if (key.empty()) return;
  require_writable(choice.teacher_cache);
  cache_RNF_ = compute_all(model, images, workers);
  write_safetensors(choice.teacher_cache, {{kFeatures, cache_RNF_}}, {{"format", "beit"}, {"made_for", key}});
}

torch::Tensor Targets::compute(const torch::Tensor& images_BCHW) {
  const torch::NoGradGuard no_grad;
  const auto target_BNF = teacher_->target(images_BCHW);
  return statistics_ ? statistics_->standardise(target_BNF) : target_BNF;
}

torch::Tensor Targets::compute_all(const ModelOptions& model, const Dataset& images, int64_t workers) {
  auto all_RNF = torch::zeros({2 * images.size(), grid_of(model).patches(), width_}, torch::kFloat16);
  Loader loader(images, evaluation_transform(model), evaluation_order(kBatch, workers));
  loader.start(/*epoch=*/0);
  Progress progress(0, images.size(), 1, log().should_log(spdlog::level::info));
  int64_t done = 0;
  while (const auto batch = loader.next()) {
    const auto images_BCHW = batch->views[0].to(device_);
    const auto row_B = batch->indices_B * 2;
    all_RNF.index_copy_(0, row_B, compute(images_BCHW).to(torch::kCPU, torch::kFloat16));
    all_RNF.index_copy_(0, row_B + 1, compute(images_BCHW.flip(-1)).to(torch::kCPU, torch::kFloat16));
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
  return cache_RNF_.index_select(0, indices_B * 2 + mirrored_B.to(torch::kInt64)).to(device_, torch::kFloat32);
}

}  // namespace beit
