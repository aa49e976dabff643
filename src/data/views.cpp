#include "data/views.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "data/image.h"
#include "data/pixel_rows.h"

namespace beit {
namespace {

void end(const ViewOutput& output, double StageTimes::*stage) {
  if (output.clock != nullptr) output.clock->end(stage);
}

CropDraw draw_crop(const ImageSize& image, double min_crop, Random& random) {
  CropDraw crop{.mirrored = random.uniform() < 0.5};
  if (min_crop < 1.0) crop.box = random_resized_crop(image, min_crop, 1.0, random);
  return crop;
}

Cut cut_of(const ImageSize& image, const CropDraw& crop, const ImageSize& size) {
  return crop.box ? cut_of(region_of(*crop.box), size) : evaluation_cut(image, size);
}

Box union_of(const Box& a, const Box& b) {
  const int64_t top = std::min(a.top, b.top), left = std::min(a.left, b.left);
  return {top, left, std::max(a.top + a.height, b.top + b.height) - top,
          std::max(a.left + a.width, b.left + b.width) - left};
}

/// The pixels that touch a region.
Box touched(const Region& region) {
  const auto top = static_cast<int64_t>(std::floor(region.top)), left = static_cast<int64_t>(std::floor(region.left));
  return {top, left, static_cast<int64_t>(std::ceil(region.top + region.height)) - top,
          static_cast<int64_t>(std::ceil(region.left + region.width)) - left};
}

int64_t area(const ImageSize& size) { return size.height * size.width; }

/// The views of one draw, uint8 planes [3, H, W]; views of one size are one tensor.
std::vector<torch::Tensor> planes_of(EncodedImage& image, const CropDraw& crop, const ColorJitter& jitter,
                                     std::span<const ImageSize> sizes, Decoding decoding, const ViewOutput& output) {
  const bool fast = decoding == Decoding::kFast && crop.box;
  std::vector<Cut> cuts;
  for (const ImageSize& size : sizes) cuts.push_back(cut_of(image.size(), crop, size));
  Box source = crop.box ? *crop.box : source_of(cuts[0], Filter::kBicubic);
  ImageSize at_least = sizes[0];
  int64_t view_pixels = area(sizes[0]);
  for (size_t i = 1; i < cuts.size(); ++i) {
    if (!crop.box) source = union_of(source, source_of(cuts[i], Filter::kBicubic));
    at_least = {std::max(at_least.height, sizes[i].height), std::max(at_least.width, sizes[i].width)};
    if (sizes[i] != sizes[i - 1]) view_pixels += area(sizes[i]);
  }

  const Box whole = whole_of(image.size());
  const bool wants_whole = !fast && !jitter.steps.empty();  // whose mean grey contrast takes
  const DecodedPart part = fast ? image.decode(source, at_least) : image.decode(wants_whole ? whole : source);
  for (Cut& cut : cuts) {
    cut.region.top *= part.scale, cut.region.left *= part.scale;
    cut.region.height *= part.scale, cut.region.width *= part.scale;
  }
  end(output, &StageTimes::decode_s);

  bool jittered = jitter.steps.empty();
  if (!fast && !jittered) {
    apply_jitter_(part.pixels_HWC, jitter, source, whole);
    jittered = true;
  } else if (!jittered) {
    Box shown = touched(cuts[0].region);
    if (shown.height * shown.width < view_pixels) {
      shown.top -= part.top, shown.left -= part.left;
      apply_jitter_(part.pixels_HWC, jitter, shown, shown);
      jittered = true;
    }
  }
  end(output, &StageTimes::rest_s);

  std::vector<torch::Tensor> views_CHW;
  for (size_t i = 0; i < cuts.size(); ++i) {
    if (i > 0 && sizes[i] == sizes[i - 1]) {
      views_CHW.push_back(views_CHW.back());
      continue;
    }
    views_CHW.push_back(
        resize_to_planes(part.pixels_HWC, part.top, part.left, cuts[i], Filter::kBicubic, crop.mirrored));
    end(output, &StageTimes::resize_s);
    if (!jittered) apply_jitter_(views_CHW.back(), jitter);
    end(output, &StageTimes::rest_s);
  }
  return views_CHW;
}

/// Into row number `row` of the output, where there is one.
torch::Tensor floats_of(const torch::Tensor& planes_CHW, const PixelScale& scale, const ViewOutput& output,
                        size_t row = 0) {
  auto out_CHW = row < output.rows.size() ? output.rows[row] : torch::empty(planes_CHW.sizes(), torch::kFloat32);
  require(out_CHW.sizes() == planes_CHW.sizes() && out_CHW.scalar_type() == torch::kFloat32 && out_CHW.is_contiguous(),
          "views: expected contiguous float32 rows [{}] to write to, got {} [{}]", fmt::join(planes_CHW.sizes(), ", "),
          c10::toString(out_CHW.scalar_type()), fmt::join(out_CHW.sizes(), ", "));
  const int64_t pixels = planes_CHW.size(1) * planes_CHW.size(2);
  for (int64_t c = 0; c < 3; ++c) {
    const auto i = static_cast<size_t>(c);
    row_kernels().to_float(planes_CHW.const_data_ptr<uint8_t>() + c * pixels, pixels, scale.mean[i], scale.std[i],
                           out_CHW.mutable_data_ptr<float>() + c * pixels);
  }
  return out_CHW;
}

torch::Tensor joined(const torch::Tensor& planes_CHW) {
  const int64_t height = planes_CHW.size(1), width = planes_CHW.size(2);
  auto pixels_HWC = torch::empty({height, width, 3}, torch::kUInt8);
  row_kernels().join(planes_CHW.const_data_ptr<uint8_t>(), height * width, pixels_HWC.mutable_data_ptr<uint8_t>());
  return pixels_HWC;
}

torch::Tensor split(const torch::Tensor& pixels_HWC) {
  const int64_t height = pixels_HWC.size(0), width = pixels_HWC.size(1);
  auto planes_CHW = torch::empty({3, height, width}, torch::kUInt8);
  row_kernels().split(pixels_HWC.const_data_ptr<uint8_t>(), height * width, planes_CHW.mutable_data_ptr<uint8_t>());
  return planes_CHW;
}

}  // namespace

TokenizerView tokenizer_view(EncodedImage& image, const TokenizerViewOptions& options, Random& random,
                             const ViewOutput& output) {
  const CropDraw crop = draw_crop(image.size(), options.min_crop, random);
  const auto views_CHW = planes_of(image, crop, {}, std::array{options.size}, options.decoding, output);
  return {floats_of(views_CHW[0], kUnitScale, output), crop.mirrored};
}

PretrainingDraw draw_pretraining(const ImageSize& image, const PretrainingViewOptions& options, Random& random) {
  PretrainingDraw draw{.jitter = draw_color_jitter(options.color_jitter, random)};
  draw.crop = draw_crop(image, options.min_crop, random);
  return draw;
}

PretrainingViews pretraining_views(EncodedImage& image, const PretrainingViewOptions& options, Random& random,
                                   const ViewOutput& output) {
  const PretrainingDraw draw = draw_pretraining(image.size(), options, random);
  const auto views_CHW = planes_of(image, draw.crop, draw.jitter,
                                   std::array{options.student_size, options.tokenizer_size}, options.decoding, output);
  return {floats_of(views_CHW[0], kImagenetScale, output, 0), floats_of(views_CHW[1], kUnitScale, output, 1)};
}

torch::Tensor finetune_view(EncodedImage& image, const FinetuneViewOptions& options, Random& random,
                            const ViewOutput& output) {
  const CropDraw crop = draw_crop(image.size(), options.min_crop, random);
  auto view_CHW = planes_of(image, crop, {}, std::array{options.size}, options.decoding, output)[0];
  if (options.rand_augment.layers > 0) {
    const auto pixels_HWC = joined(view_CHW);
    rand_augment_(pixels_HWC, options.rand_augment, random);
    view_CHW = split(pixels_HWC);
  }
  return floats_of(view_CHW, kImagenetScale, output);
}

torch::Tensor evaluation_view(EncodedImage& image, const ImageSize& size, const PixelScale& scale,
                              const ViewOutput& output) {
  return floats_of(planes_of(image, {}, {}, std::array{size}, Decoding::kExact, output)[0], scale, output);
}

}  // namespace beit
