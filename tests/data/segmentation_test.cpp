#include <doctest/doctest.h>

#include "data/bilinear.h"
#include "data/image.h"
#include "data/photometric.h"
#include "data/segmentation_views.h"
#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

// KIND.PICTURE.NUMBER.NUMBER
std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  const auto kind_end = name.find('.'), picture_end = name.find('.', kind_end + 1);
  parts = {name.substr(0, kind_end), name.substr(kind_end + 1, picture_end - kind_end - 1)};
  if (picture_end != std::string::npos) parts.push_back(name.substr(picture_end + 1));
  return parts;
}

torch::Tensor labels_of(std::vector<int64_t> values, int64_t height, int64_t width) {
  return torch::tensor(values).to(torch::kUInt8).view({height, width}).contiguous();
}

std::vector<uint8_t> file_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

TEST_CASE("segmentation: resizing and colours are OpenCV's at every pixel") {
  const auto tensors = read_safetensors(golden("segmentation.safetensors")).tensors;
  int compared = 0;
  for (const auto& [name, expected] : tensors) {
    CAPTURE(name);
    const auto parts = parts_of(name);
    if (parts[0] == "in" || parts[0] == "labels") continue;
    const auto pixels_HWC = tensors.at("in." + parts[1]).clone();
    if (parts[0] == "resized" || parts[0] == "nearest") {
      const ImageSize size{expected.size(0), expected.size(1)};
      if (parts[0] == "nearest") {
        CHECK(torch::equal(resize_labels(tensors.at("labels." + parts[1]), size), expected));
      } else {
        CHECK(torch::equal(resize_bilinear(pixels_HWC, size, {0, 0, size.height, size.width}), expected));
        const Box part{size.height / 3, size.width / 4, (size.height + 1) / 2, (size.width + 1) / 2};
        CHECK(torch::equal(resize_bilinear(pixels_HWC, size, part),
                           expected.narrow(0, part.top, part.height).narrow(1, part.left, part.width)));
      }
      ++compared;
      continue;
    }
    const double number = std::stod(parts[2]);
    if (parts[0] == "contrast") scale_and_shift_(pixels_HWC, number, 0.0);
    if (parts[0] == "brightness") scale_and_shift_(pixels_HWC, 1.0, number);
    if (parts[0] == "saturation") scale_saturation_(pixels_HWC, number);
    if (parts[0] == "hue") turn_hue_(pixels_HWC, static_cast<int64_t>(number));
    CHECK(torch::equal(pixels_HWC, expected));
    ++compared;
  }
  CHECK(compared >= 30);
}

TEST_CASE("segmentation: an image is fitted by its sides, whichever way it lies") {
  CHECK(fit_into({480, 640}, {512, 2048}) == ImageSize{512, 683});
  CHECK(fit_into({640, 480}, {512, 2048}) == ImageSize{683, 512});
  CHECK(fit_into({100, 1000}, {512, 2048}) == ImageSize{205, 2048});
  CHECK(fit_into({1, 100000}, {512, 2048}) == ImageSize{1, 2048});
  CHECK_THROWS_AS(fit_into({0, 4}, {512, 2048}), Error);
}

TEST_CASE("segmentation: image and labels stay together through scaling, crop, mirror and padding") {
  // The red channel says the class; nearest and bilinear agree where the classes' blocks are large.
  auto labels_HW = torch::zeros({40, 60}, torch::kUInt8);
  for (int64_t y = 0; y < 40; ++y) {
    for (int64_t x = 0; x < 60; ++x) labels_HW[y][x] = y / 20 * 3 + x / 20;
  }
  const auto pixels_HWC = (labels_HW * 40).unsqueeze(2).expand({40, 60, 3}).contiguous();
  const SegmentationViewOptions options{.limit = {40, 160}, .crop = {48, 48}, .distortion = false};
  bool padded = false;
  for (uint64_t index = 0; index < 40; ++index) {
    Random random(5, 0, index, Purpose::kAugment);
    const auto view = segmentation_training_view(pixels_HWC, labels_HW, options, random);
    REQUIRE(view.image_CHW.sizes() == torch::IntArrayRef({3, 48, 48}));
    REQUIRE(view.labels_HW.sizes() == torch::IntArrayRef({48, 48}));
    const auto red_HW = (view.image_CHW[0] * 0.229F + 0.485F) * 255 / 40;
    const auto inside = view.labels_HW.ne(kIgnoredLabel);
    const auto agree = red_HW.sub(view.labels_HW).abs().lt(0.02).logical_and(inside);
    CHECK(agree.sum().item<double>() > 0.75 * inside.sum().item<double>());
    CHECK(!view.image_CHW.masked_select(inside.logical_not().unsqueeze(0).expand({3, 48, 48})).any().item<bool>());
    padded = padded || !inside.all().item<bool>();
    CHECK(inside[0][0].item<bool>());
  }
  CHECK(padded);
}

TEST_CASE("segmentation: a crop of one class is drawn anew") {
  auto labels_HW = torch::zeros({64, 64}, torch::kUInt8);
  labels_HW.narrow(1, 32, 32).fill_(1);
  labels_HW.narrow(0, 60, 4).fill_(kIgnoredLabel);
  const auto pixels_HWC = picture(64, 64);
  SegmentationViewOptions options{
      .limit = {64, 64}, .min_ratio = 1.0, .max_ratio = 1.0, .crop = {16, 16}, .distortion = false};
  const auto share_of_plain = [&](double max_class_share) {
    options.max_class_share = max_class_share;
    int plain = 0;
    for (uint64_t index = 0; index < 200; ++index) {
      Random random(6, 0, index, Purpose::kAugment);
      const auto crop_HW = segmentation_training_view(pixels_HWC, labels_HW, options, random).labels_HW;
      const auto ones = crop_HW.eq(1).sum().item<double>(), zeros = crop_HW.eq(0).sum().item<double>();
      plain += std::max(ones, zeros) >= 0.75 * (ones + zeros) ? 1 : 0;
    }
    return plain / 200.0;
  };
  CHECK(share_of_plain(1.0) > 0.7);    // 7 columns of 49 have at least a quarter of both
  CHECK(share_of_plain(0.75) < 0.35);  // eleven tries
}

TEST_CASE("segmentation: views are functions of the stream; distortion changes colours only") {
  const auto pixels_HWC = picture(30, 40);
  const auto labels_HW = pixels_HWC.select(2, 0).contiguous();
  SegmentationViewOptions options{.limit = {30, 40}, .crop = {32, 32}};
  std::vector<SegmentationView> views;
  for (const uint64_t index : {1U, 1U, 2U}) {
    Random random(7, 0, index, Purpose::kAugment);
    views.push_back(segmentation_training_view(pixels_HWC, labels_HW, options, random));
  }
  CHECK(torch::equal(views[0].image_CHW, views[1].image_CHW));
  CHECK(torch::equal(views[0].labels_HW, views[1].labels_HW));
  CHECK(!torch::equal(views[0].labels_HW, views[2].labels_HW));
  options.distortion = false;
  Random random(7, 0, 1, Purpose::kAugment);
  const auto plain = segmentation_training_view(pixels_HWC, labels_HW, options, random);
  CHECK(torch::equal(plain.labels_HW, views[0].labels_HW));
  CHECK(!torch::equal(plain.image_CHW, views[0].image_CHW));
  CHECK(segmentation_test_view(pixels_HWC, {.limit = {60, 90}}).sizes() == torch::IntArrayRef({3, 60, 80}));
  CHECK_THROWS_AS(segmentation_training_view(pixels_HWC, labels_HW.narrow(0, 0, 9).contiguous(), options, random),
                  Error);
}

TEST_CASE("label_map: grey values and palette indices are read as they are, other files refused") {
  const auto tensors = read_safetensors(golden("formats.safetensors")).tensors;
  int compared = 0;
  for (const auto& [name, bytes] : tensors) {
    if (!name.starts_with("in.")) continue;
    CAPTURE(name);
    const auto expected = tensors.find("indices." + name.substr(3));
    if (expected != tensors.end()) {
      CHECK(torch::equal(decode_label_map(bytes_of(bytes), name), expected->second));
      ++compared;
    } else if (!name.starts_with("in.png_grey_2") && !name.starts_with("in.png_palette")) {
      CHECK(contains(error_of([&] { decode_label_map(bytes_of(bytes), name); }), name + ": expected"));
    }
  }
  CHECK(compared == 17);
  auto labels_HW = labels_of({0, 1, 2, 254, 255, 0}, 2, 3);
  drop_zero_label_(labels_HW);
  CHECK(torch::equal(labels_HW, labels_of({255, 0, 1, 253, 255, 255}, 2, 3)));
}

TEST_CASE("label_map: real label maps have the stated classes and their images' size") {
  const auto folder = shared_file("data/camvid");
  if (!folder) return;
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(*folder / "labels/val")) {
    const std::string name = entry.path().stem().string();
    CAPTURE(name);
    const auto labels_HW = decode_label_map(file_of(entry.path()), name);
    const auto pixels_HWC = decode_image(file_of(*folder / "images/val" / (name + ".jpg")), name);
    CHECK(labels_HW.sizes() == torch::IntArrayRef({360, 480}));
    CHECK(labels_HW.max().item<int>() <= 11);
    Random random(8, 0, static_cast<uint64_t>(seen), Purpose::kAugment);
    const auto view = segmentation_training_view(pixels_HWC, labels_HW, {}, random);
    CHECK(view.image_CHW.sizes() == torch::IntArrayRef({3, 512, 512}));
    if (++seen == 5) break;
  }
  CHECK(seen == 5);
}
