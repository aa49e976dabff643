// What the classes of all networks have alike: load(), and what they say of themselves.
#pragma once

#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "held.h"

namespace beit {

/// Nothing stands for what the file tells. Error for what no file could be loaded with.
LoadOptions load_options(std::optional<int64_t> image_size, std::optional<int64_t> heads,
                         const std::optional<std::string>& input_form = {});

template <class Loaded>
std::unique_ptr<Held<Loaded>> load_held(typename Held<Loaded>::Load load, const std::filesystem::path& path,
                                        const py::object& device, const LoadOptions& options) {
  require(c10::get_default_dtype_as_scalartype() == torch::kFloat32,
          "load: expected torch's default dtype to be float32, in which networks are held, got {}; "
          "torch.set_default_dtype(torch.float32)",
          c10::toString(c10::get_default_dtype_as_scalartype()));
  const torch::Device place = device_of(device);
  const py::gil_scoped_release others_go_on;
  return std::make_unique<Held<Loaded>>(load, path, options, place);
}

inline constexpr const char* kLoadDoc =
    "Opens weights, ours or published, or a run folder. image_size: positions are resized for so many pixels; heads: "
    "of attention, where the file does not tell.";

/// load() of a network that asks for nothing more than all do.
template <class Loaded>
void add_load(py::class_<Held<Loaded>>& type, typename Held<Loaded>::Load load) {
  type.def_static(
      "load",
      [load](const std::filesystem::path& path, const py::object& device, std::optional<int64_t> image_size,
             std::optional<int64_t> heads) {
        return load_held<Loaded>(load, path, device, load_options(image_size, heads));
      },
      py::arg("path"), py::arg("device") = "cpu", py::kw_only(), py::arg("image_size") = py::none(),
      py::arg("heads") = py::none(), kLoadDoc);
}

template <class Loaded>
void add_description(py::class_<Held<Loaded>>& type, const std::string& name) {
  using Self = const Held<Loaded>&;
  const auto grid = [](Self self) { return grid_of(self.loaded().options); };
  type.def_property_readonly(
          "device", [](Self self) { return self.device(); }, "Where it computes.")
      .def_property_readonly(
          "image_size", [](Self self) { return self.loaded().options.image_size; },
          "Pixels of a side of the images that it was made for; others serve whose sides are multiples of patch_size.")
      .def_property_readonly(
          "patch_size", [](Self self) { return self.loaded().options.patch_size; }, "Pixels of a side of a patch.")
      .def_property_readonly(
          "grid", [grid](Self self) { return std::pair(grid(self).rows, grid(self).columns); },
          "Rows and columns of patches of an image of image_size.")
      .def("__repr__", [grid, name](Self self) {
        return fmt::format("<beit.{}: {}x{} patches of {} pixels, on {}>", name, grid(self).rows, grid(self).columns,
                           self.loaded().options.patch_size, self.device().str());
      });
}

}  // namespace beit
