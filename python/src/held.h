// A network that Python holds: on one device, used by one thread at a time, while Python's other threads go on.
// Shape letters: B images, C channels, H and W height and width.
#pragma once

#include <torch/csrc/utils/pybind.h>
#include <torch/torch.h>

#include <filesystem>
#include <mutex>
#include <string_view>

#include "base/config.h"
#include "base/error.h"

namespace beit {

/// Error, starting with `where`, unless these are images that a network on that device can see: float32 [B, 3, H, W].
void require_images(const torch::Tensor& images_BCHW, const torch::Device& device, std::string_view where);

/// As torch.device() understands it. Error unless it is the CPU, or a GPU that is there.
torch::Device device_of(const py::object& device);

/// What a function of train/models.h loaded.
template <class Loaded>
class Held {
 public:
  using Load = Loaded (*)(const std::filesystem::path&, const LoadOptions&);

  /// Called without Python's lock.
  Held(Load load, const std::filesystem::path& path, const LoadOptions& options, const torch::Device& device)
      : loaded_(load(path, options)) {
    loaded_.model->to(device);
  }

  const Loaded& loaded() const { return loaded_; }
  torch::Device device() const { return loaded_.model->parameters().front().device(); }

  /// work(loaded), without gradients. Called with Python's lock, which is let go meanwhile: before it waits for its
  /// turn, so that what `work` logs can take it.
  template <class Work>
  auto compute(const Work& work) {
    const py::gil_scoped_release others_go_on;
    const std::scoped_lock one_at_a_time(mutex_);
    const torch::NoGradGuard no_grad;
    return work(loaded_);
  }

 private:
  Loaded loaded_;
  std::mutex mutex_;
};

}  // namespace beit
