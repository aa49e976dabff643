#include "train/shown_images.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "data/augment.h"
#include "data/image.h"
#include "data/jpeg_encoder.h"
#include "data/resize.h"
#include "train/code_atlas.h"

namespace beit {

ShownImages shown_images(const Dataset& images, const ModelOptions& model, int64_t count, bool apply_orientation) {
  ShownImages shown;
  std::vector<torch::Tensor> views_CHW;
  const int64_t wanted = std::min(count, images.size());
  for (int64_t i = 0; i < wanted; ++i) {
    // Those after the i-th place, up to the next.
    for (int64_t index = i * images.size() / wanted; index < (i + 1) * images.size() / wanted; ++index) {
      try {
        const auto pixels_HWC = evaluation_image(images, index, model, apply_orientation);
        NamedPicture picture{images.path(index), encoded(pixels_HWC)};
        shown.indices.push_back(index);
        shown.images.push_back(std::move(picture));
        views_CHW.push_back(to_float(pixels_HWC));
        break;
      } catch (const Error& error) {
        log().warn("{}", error.what());
      }
    }
  }
  require(!shown.indices.empty(), "report: expected images that can be read, got none of {}", images.size());
  shown.images_BCHW = torch::stack(views_CHW);
  return shown;
}

EncodedPicture encoded(const torch::Tensor& pixels_HWC, int64_t most_side) {
  constexpr int64_t kSmall = 64;
  const int64_t height = pixels_HWC.size(0), width = pixels_HWC.size(1), longer = std::max(height, width);
  auto shown_HWC = pixels_HWC.contiguous();
  if (longer > most_side) {
    const auto scaled = [&](int64_t side) { return std::max<int64_t>(1, side * most_side / longer); };
    shown_HWC =
        resize(shown_HWC, whole_of({height, width}), {scaled(height), scaled(width)}, Filter::kBicubic).contiguous();
  }
  // Drawings are smaller without loss; to JPEG's blocks and halved colours small pictures lose what they show.
  auto bytes = encode_png(shown_HWC);
  if (std::max(shown_HWC.size(0), shown_HWC.size(1)) > kSmall) {
    auto lossy = encode_jpeg(shown_HWC);
    if (lossy.size() < bytes.size()) bytes = std::move(lossy);
  }
  return {{bytes.begin(), bytes.end()}, shown_HWC.size(0), shown_HWC.size(1)};
}

}  // namespace beit
