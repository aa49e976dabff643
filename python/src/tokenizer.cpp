// beit.Tokenizer. Shape letters: B images, N patches, C width of a code, K codes.
#include "binding.h"
#include "module.h"
#include "train/models.h"

namespace beit {
namespace {

constexpr const char* kWhere = "tokenizer";

torch::Tensor decode(LoadedTokenizer& loaded, torch::Tensor codes_BN, const torch::Device& device,
                     const std::optional<std::pair<int64_t, int64_t>>& grid) {
  require(codes_BN.layout() == torch::kStrided && codes_BN.dim() == 2 && codes_BN.numel() > 0 &&
              (codes_BN.scalar_type() == torch::kInt64 || codes_BN.scalar_type() == torch::kInt32) &&
              codes_BN.device() == device,
          "{}: expected codes [B, N] of int64 or int32 on {}, got {} [{}] on {}", kWhere, device.str(),
          c10::toString(codes_BN.scalar_type()), fmt::join(codes_BN.sizes(), ", "), codes_BN.device().str());
  codes_BN = codes_BN.to(torch::kInt64);  // files of codes hold int32
  const auto& codebook_KC = loaded.model->quantizer()->codebook();
  const int64_t least = codes_BN.min().item<int64_t>(), most = codes_BN.max().item<int64_t>();
  require(least >= 0 && most < codebook_KC.size(0), "{}: expected codes from 0 to {}, got {}", kWhere,
          codebook_KC.size(0) - 1, least < 0 ? least : most);
  const auto vectors_BNC =
      codebook_KC.index_select(0, codes_BN.flatten()).view({codes_BN.size(0), codes_BN.size(1), codebook_KC.size(1)});
  if (!grid) return loaded.model->decode(vectors_BNC);
  require(grid->first > 0 && grid->second > 0, "{}: expected a grid of rows and columns, got {} and {}", kWhere,
          grid->first, grid->second);
  return loaded.model->decode(vectors_BNC, Grid{.rows = grid->first, .columns = grid->second});
}

}  // namespace

void add_tokenizer(py::module_& scope) {
  using Self = Held<LoadedTokenizer>;
  py::class_<Self> type(scope, "Tokenizer", "Images to visual tokens (VQ-KD). One call at a time, from any thread.");
  type.def_static(
      "load",
      [](const std::filesystem::path& path, const py::object& device, std::optional<int64_t> image_size,
         std::optional<int64_t> heads, const std::optional<std::string>& input_form) {
        return load_held<LoadedTokenizer>(&load_tokenizer, path, device, load_options(image_size, heads, input_form));
      },
      py::arg("path"), py::arg("device") = "cpu", py::kw_only(), py::arg("image_size") = py::none(),
      py::arg("heads") = py::none(), py::arg("input_form") = py::none(), kLoadDoc);
  add_description(type, "Tokenizer");
  type.def_property_readonly(
          "codebook",
          [](Self& self) {
            return self.compute([](LoadedTokenizer& loaded) { return loaded.model->quantizer()->codebook().detach(); });
          },
          "The codes' vectors [K, C]: the tokenizer's own memory, not a copy.")
      .def(
          "codes",
          [](Self& self, const torch::Tensor& images_BCHW) {
            require_images(images_BCHW, self.device(), kWhere);
            return self.compute([&](LoadedTokenizer& loaded) { return loaded.model->codes(images_BCHW); });
          },
          py::arg("images"), "The visual tokens of images [B, 3, height, width]: int64 [B, N], row by row of patches.")
      .def(
          "nearest",
          [](Self& self, const torch::Tensor& images_BCHW) {
            require_images(images_BCHW, self.device(), kWhere);
            return self.compute([&](LoadedTokenizer& loaded) {
              const NearestCodes found = loaded.model->nearest(images_BCHW);
              return std::pair(found.ids_BN, found.similarity_BN);
            });
          },
          py::arg("images"),
          "codes(images), and how near each patch lies to its code: the cosine of their vectors, [B, N].")
      .def(
          "vectors",
          [](Self& self, const torch::Tensor& images_BCHW) {
            require_images(images_BCHW, self.device(), kWhere);
            return self.compute([&](LoadedTokenizer& loaded) {
              namespace functional = torch::nn::functional;
              return functional::normalize(loaded.model->vectors(images_BCHW),
                                           functional::NormalizeFuncOptions().dim(-1));
            });
          },
          py::arg("images"),
          "What the encoder makes of each patch before it becomes the nearest code: [B, N, C], of unit length.")
      .def(
          "decode",
          [](Self& self, const torch::Tensor& codes_BN, const std::optional<std::pair<int64_t, int64_t>>& grid) {
            const torch::Device device = self.device();
            return self.compute([&](LoadedTokenizer& loaded) { return decode(loaded, codes_BN, device, grid); });
          },
          py::arg("codes"), py::kw_only(), py::arg("grid") = py::none(),
          "The teacher's features [B, N, F] that codes [B, N] stand for. grid: rows and columns of patches, where they "
          "are not the tokenizer's own.");
}

}  // namespace beit
