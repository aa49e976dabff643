// beit.Backbone. Shape letters: B images, C channels, H and W height and width.
#include <algorithm>
#include <array>
#include <string>
#include <variant>
#include <vector>

#include "binding.h"
#include "module.h"
#include "train/backbone_features.h"

namespace beit {
namespace {

constexpr const char* kWhere = "backbone";

FeatureSet feature_set(int64_t layer, const std::string& pooling, int64_t depth) {
  constexpr std::array kPoolings{"mean", "cls", "both", "tokens", "patches"};
  require(std::ranges::find(kPoolings, pooling) != kPoolings.end(), "{}: expected a pooling of {}, got '{}'", kWhere,
          fmt::join(kPoolings, ", "), pooling);
  require(layer >= 0 && layer <= depth, "{}: expected a layer from 1 to {}, or 0 for the last, got {}", kWhere, depth,
          layer);
  return {layer == 0 ? depth : layer, pooling};
}

using Layers = std::variant<int64_t, std::vector<int64_t>>;
/// One tensor for one layer, a list for several.
using Features = std::variant<torch::Tensor, std::vector<torch::Tensor>>;

Features features(Held<LoadedBackbone>& self, const torch::Tensor& images_BCHW, const Layers& layers,
                  const std::string& pooling, bool final_norm) {
  require_images(images_BCHW, self.device(), kWhere);
  const int64_t depth = self.loaded().options.depth;
  const auto* const one = std::get_if<int64_t>(&layers);
  std::vector<FeatureSet> sets;
  for (const int64_t layer : one ? std::vector{*one} : std::get<std::vector<int64_t>>(layers)) {
    sets.push_back(feature_set(layer, pooling, depth));
  }
  require(!sets.empty(), "{}: expected layers, got none; 0 is the last", kWhere);
  auto found =
      self.compute([&](LoadedBackbone& loaded) { return backbone_features(loaded, sets, final_norm).of(images_BCHW); });
  if (one) return std::move(found.front());
  return found;
}

}  // namespace

void add_backbone(py::module_& scope) {
  using Self = Held<LoadedBackbone>;
  py::class_<Self> type(scope, "Backbone",
                        "Images to features: the vision transformer of any network of ours, of a tokenizer the "
                        "encoder. One call at a time, from any thread.");
  add_load(type, &load_backbone);
  add_description(type, "Backbone");
  type.def_property_readonly(
          "width", [](const Self& self) { return self.loaded().options.width; }, "Of a token.")
      .def_property_readonly(
          "depth", [](const Self& self) { return self.loaded().options.depth; }, "Number of blocks.")
      .def("features", &features, py::arg("images"), py::kw_only(), py::arg("layers") = 0, py::arg("pooling") = "mean",
           py::arg("final_norm") = false,
           "Features of images [B, 3, height, width] after a block, from 1, 0 being the last; of several blocks a "
           "list, from one pass. pooling: mean of the patch tokens or cls [B, width]; both [B, 2 width]; "
           "tokens, CLS first [B, N + 1, width]; patches [B, N, width]. final_norm: the last "
           "block's tokens after the network's own last norm.");
}

}  // namespace beit
