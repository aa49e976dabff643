#include "serve/code_gallery.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "data/image.h"
#include "train/code_atlas.h"

namespace beit {
namespace {

constexpr int64_t kContext = 2;  // patches on each side
constexpr int64_t kSide = 160;   // pixels of a picture

}  // namespace

CodeGallery::CodeGallery(CodeAtlas atlas, Dataset images, const ModelOptions& model, bool apply_orientation)
    : atlas_(std::move(atlas)),
      images_(std::move(images)),
      model_(model),
      apply_orientation_(apply_orientation),
      patches_(std::max<int64_t>(1, atlas_.uses_K.sum().item<int64_t>())) {}

nlohmann::ordered_json CodeGallery::describe(int64_t code) const {
  require(code >= 0 && code < codes(), "code: expected a number below {}, got {}", codes(), code);
  const auto uses = atlas_.uses_K[code].item<int64_t>();
  auto examples = nlohmann::ordered_json::array();
  for (const CodeExample& example : atlas_.examples.at(static_cast<size_t>(code))) {
    examples.push_back({{"image", images_.path(example.place.image)},
                        {"patch", example.place.patch},
                        {"similarity", example.similarity},
                        {"picture", fmt::format("/v1/codes/{}/{}.png", code, examples.size())}});
  }
  return {{"code", code},
          {"uses", uses},
          {"share", static_cast<double>(uses) / static_cast<double>(patches_)},
          {"images", atlas_.images_K[code].item<int64_t>()},
          {"examples", std::move(examples)}};
}

std::vector<uint8_t> CodeGallery::picture(int64_t code, int64_t example) const {
  require(code >= 0 && code < codes() && example >= 0 && example < examples(code),
          "code: expected an example of a code below {}, got number {} of code {}", codes(), example, code);
  const PatchPlace& place = atlas_.examples[static_cast<size_t>(code)][static_cast<size_t>(example)].place;
  return encode_png(outlined_example(images_, place, model_, kContext, kSide, apply_orientation_));
}

}  // namespace beit
