#include "held.h"

#include <c10/core/ScalarType.h>

namespace beit {

void require_images(const torch::Tensor& images_BCHW, const torch::Device& device, std::string_view where) {
  require(images_BCHW.layout() == torch::kStrided && images_BCHW.dim() == 4 && images_BCHW.size(1) == 3 &&
              images_BCHW.numel() > 0,
          "{}: expected images [B, 3, height, width], got [{}]; of one image, images[None] makes a batch", where,
          fmt::join(images_BCHW.sizes(), ", "));
  require(images_BCHW.scalar_type() == torch::kFloat32,
          "{}: expected images of float32 in [0, 1], got {}; of bytes, images.float() / 255 makes such", where,
          c10::toString(images_BCHW.scalar_type()));
  require(images_BCHW.device() == device, "{}: expected images on {}, where the network is, got {}; images.to(\"{}\")",
          where, device.str(), images_BCHW.device().str(), device.str());
}

torch::Device device_of(const py::object& device) {
  const py::object given = py::module_::import("torch").attr("device")(device);
  const auto found = given.cast<torch::Device>();
  require(found.is_cpu() || found.is_cuda(), "device: expected cpu or cuda, got {}", found.str());
  require(found.is_cpu() || torch::cuda::is_available(),
          "device: expected a CUDA GPU for \"{}\", found none; use \"cpu\"", found.str());
  return found;
}

}  // namespace beit
