#include "cli/images.h"

#include <sys/resource.h>

#include "base/error.h"
#include "cli/number_list.h"
#include "data/image.h"

namespace beit {
namespace {

// Each archive of a set stays open, and systems give a program 1024 files unless it asks for more.
void allow_many_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // where it is refused, opening says so
}

}  // namespace

Dataset open_images(const std::vector<std::string>& paths, std::string_view flag) {
  require(!paths.empty(), "{}: expected images, got none; set --{} PATH, a folder, list or tar file", flag, flag);
  allow_many_files();
  return Dataset::open(std::vector<std::filesystem::path>(paths.begin(), paths.end()));
}

Dataset open_one_image(const std::string& path, std::string_view flag) {
  Dataset image = open_images({path}, flag);
  require(image.size() == 1, "{}: expected a single image, got {} in {}; set --{} FILE", flag, image.size(), path,
          flag);
  return image;
}

Dataset open_classes(const std::vector<std::string>& paths, std::string_view flag) {
  Dataset images = open_images(paths, flag);
  images.classes();  // an Error where some are names and some numbers
  for (int64_t i = 0; i < images.size(); ++i) {
    require(images.label(i) >= 0, "{}: expected images in class folders, got one without class; a class is a folder",
            images.path(i));
  }
  return images;
}

void require_classes(const Dataset& images, std::string_view flag) {
  require(images.classes().size() > 1, "{}: expected images of two classes at least, got {}; a class is a folder", flag,
          images.classes().size());
}

SamplerOptions sampler_options(const DataOptions& data, uint64_t seed) {
  require(data.data_weight.empty() || data.data_weight.size() == data.data.size(),
          "data-weight: expected one for each --data, got {} for {}; give --data-weight as often as --data",
          data.data_weight.size(), data.data.size());
  return {.seed = seed,
          .shuffle = data.shuffle == "shards" ? Shuffle::kShards : Shuffle::kFull,
          .window = data.shuffle_window,
          .weights = numbers(data.data_weight, "data-weight", {.least = 0, .without_least = true})};
}

LoaderOptions training_loading(const DataOptions& data, int64_t batch_size, uint64_t seed, bool pin_memory,
                               int64_t rank, int64_t ranks) {
  return {.batch_size = batch_size,
          .rank = rank,
          .ranks = ranks,
          .workers = data.workers,
          .order = sampler_options(data, seed),
          .apply_orientation = data.apply_orientation,
          .max_damaged = data.max_damaged,
          .pin_memory = pin_memory};
}

std::string png_bytes(const torch::Tensor& pixels_HWC) {
  const auto bytes = encode_png(pixels_HWC);
  return {bytes.begin(), bytes.end()};
}

void require_apart(const std::filesystem::path& output, const std::filesystem::path& weights,
                   const std::vector<std::string>& data) {
  std::vector<std::filesystem::path> inputs{weights};
  inputs.insert(inputs.end(), data.begin(), data.end());
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(weights, ignored)) inputs.push_back(entry.path());
  if (std::filesystem::is_regular_file(weights, ignored)) {  // of a run, maybe a checkpoint: a new run would clear it
    const auto folder = std::filesystem::absolute(weights).parent_path();
    inputs.push_back(folder.filename() == "checkpoints" ? folder.parent_path() : folder);
  }
  for (const auto& input : inputs) {
    std::error_code missing;
    require(!std::filesystem::equivalent(output, input, missing),
            "{}: expected an output apart from what is read, got {} itself; choose another place", output.string(),
            input.string());
  }
}

void require_unread(const std::filesystem::path& output, const Dataset& images) {
  require(!images.holds(output),
          "{}: expected an output apart from what is read, got an image or archive of --data; "
          "choose another place",
          output.string());
}

void require_folder_apart(const std::filesystem::path& output, const std::vector<std::string>& data) {
  std::error_code none;
  const auto inside = std::filesystem::weakly_canonical(output, none).string() + "/";
  for (const std::string& source : data) {
    if (!std::filesystem::is_directory(source, none)) continue;
    require(!inside.starts_with(std::filesystem::canonical(source, none).string() + "/"),
            "{}: expected a folder apart from what is read, got one in {}; choose another place", output.string(),
            source);
  }
}

}  // namespace beit
