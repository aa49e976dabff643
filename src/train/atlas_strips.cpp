#include "train/atlas_strips.h"

#include <algorithm>
#include <utility>

#include "train/shown_images.h"
#include "viz/surroundings.h"

namespace beit {

ReportAtlas atlas_strips(CodeAtlas atlas, const Dataset& images, const ModelOptions& model, const StripOptions& options,
                         bool apply_orientation) {
  constexpr int64_t kGap = 4;
  const Grid grid = grid_of(model);
  const auto order_K = atlas.uses_K.argsort(int64_t{0}, /*descending=*/true);
  const auto used = (atlas.uses_K > 0).sum().item<int64_t>(), shown = std::min(used, options.codes);
  ReportAtlas report{.atlas = std::move(atlas), .grid = grid, .strips = {}};
  for (int64_t i = 0; i < shown; ++i) {
    const auto code = order_K[shown == 1 ? 0 : i * (used - 1) / (shown - 1)].item<int64_t>();
    const auto& examples = report.atlas.examples[static_cast<size_t>(code)];
    if (examples.empty()) continue;
    const auto count = std::ssize(examples);
    auto strip_HWC = torch::full({options.side, count * (options.side + kGap) - kGap, 3}, 255, torch::kUInt8);
    for (int64_t k = 0; k < count; ++k) {
      strip_HWC.narrow(1, k * (options.side + kGap), options.side)
          .copy_(outlined_example(images, examples[static_cast<size_t>(k)].place, model, options.context, options.side,
                                  apply_orientation));
    }
    report.strips.push_back({code, encoded(strip_HWC, strip_HWC.size(1))});
  }
  return report;
}

}  // namespace beit
