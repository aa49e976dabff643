// beit.read_images(). Shape letters: B images, C channels, H and W height and width.
#include <pybind11/stl/filesystem.h>
#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/dataset.h"
#include "data/encoded_image.h"
#include "data/for_each.h"
#include "data/views.h"
#include "module.h"

namespace beit {
namespace {

constexpr const char* kWhere = "read_images";

/// A file, or what one holds.
struct Source {
  std::string name;  ///< path or number, for messages
  bool is_file = true;
  std::span<const uint8_t> bytes = {};  ///< of Python's object, where it is no file
};

Source source_of(const py::handle& item, size_t place) {
  if (PyBytes_Check(item.ptr()) != 0) {
    const auto* const start = reinterpret_cast<const uint8_t*>(PyBytes_AS_STRING(item.ptr()));
    return {.name = fmt::format("{}: image {}", kWhere, place),
            .is_file = false,
            .bytes = {start, static_cast<size_t>(PyBytes_GET_SIZE(item.ptr()))}};
  }
  require(py::isinstance<py::str>(item) || py::hasattr(item, "__fspath__"),
          "{}: expected paths of images, or the bytes of their files, got {} at place {}", kWhere,
          Py_TYPE(item.ptr())->tp_name, place);
  return {.name = item.cast<std::filesystem::path>().string()};
}

torch::Tensor read_images(const py::sequence& images, int64_t image_size, bool apply_orientation, int64_t workers) {
  require(!py::isinstance<py::str>(images) && !py::isinstance<py::bytes>(images) && py::len(images) > 0,
          "{}: expected a list of paths, got {}; put a single one into a list", kWhere,
          py::len(images) > 0 ? "one alone" : "none");
  require(image_size >= 1 && image_size <= 65536, "{}: expected an image_size from 1 to 65536, got {}", kWhere,
          image_size);
  require(workers >= 1, "{}: expected at least one of workers, got {}", kWhere, workers);
  const py::tuple items(images);  // holds the bytes while they are read
  std::vector<Source> sources;
  for (const py::handle item : items) sources.push_back(source_of(item, sources.size()));

  const py::gil_scoped_release others_go_on;
  const auto count = static_cast<int64_t>(sources.size());
  auto images_BCHW = torch::empty({count, 3, image_size, image_size}, torch::kFloat32);
  for_each_parallel(count, workers, [&](int64_t i) {
    const torch::NoGradGuard no_grad;
    const Source& source = sources[static_cast<size_t>(i)];
    std::vector<uint8_t> read;
    if (source.is_file) read = read_image_file(source.name);
    EncodedImage image(source.is_file ? std::span<const uint8_t>(read) : source.bytes, source.name, apply_orientation);
    evaluation_view(image, {image_size, image_size}, kUnitScale, {.rows = {images_BCHW[i]}});
  });
  return images_BCHW;
}

}  // namespace

void add_images(py::module_& scope) {
  scope.def("read_images", &read_images, py::arg("images"), py::arg("image_size") = 224, py::kw_only(),
            py::arg("apply_orientation") = false, py::arg("workers") = 2,
            "Images as the program shows them to a network: float32 [B, 3, image_size, image_size] in [0, 1], scaled "
            "until they just cover the size / 0.875 (the size itself from 384 on), of which the middle is taken. Of "
            "paths, or of the bytes of JPEG, PNG, WebP, GIF or BMP files.");
}

}  // namespace beit
