#include "data/encoded_image.h"

#include <doctest/doctest.h>

#include "data/image.h"
#include "data/orientation.h"
#include "data/resize.h"
#include "io/safetensors.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

using File = std::pair<std::string, std::vector<uint8_t>>;

// Every form of golden/decode; photographs too where they are at hand.
std::vector<File> some_files() {
  std::vector<File> files;
  for (const auto& [name, bytes] : read_safetensors(golden("decode.safetensors")).tensors) {
    if (name.starts_with("in.")) files.emplace_back(name, bytes_of(bytes));
  }
  if (const auto folder = shared_file("data/imagenet-sample")) {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(*folder)) paths.push_back(entry.path());
    std::ranges::sort(paths);
    for (size_t i = 0; i < paths.size(); i += 41) {
      std::ifstream stream(paths[i], std::ios::binary);
      files.emplace_back(paths[i].string(), std::vector<uint8_t>{std::istreambuf_iterator<char>(stream), {}});
    }
  }
  return files;
}

Box some_box(const ImageSize& size, Random& random) {
  Box box{.height = random.integer(1, size.height + 1), .width = random.integer(1, size.width + 1)};
  box.top = random.integer(0, size.height - box.height + 1);
  box.left = random.integer(0, size.width - box.width + 1);
  return box;
}

torch::Tensor cut(const DecodedPart& part, const Box& box) {
  return part.pixels_HWC.slice(0, box.top - part.top, box.top - part.top + box.height)
      .slice(1, box.left - part.left, box.left - part.left + box.width);
}

}  // namespace

TEST_CASE("encoded image: the pixels of a part are those of the whole, in each format and wherever it lies") {
  for (const auto& [name, bytes] : some_files()) {
    CAPTURE(name);
    EncodedImage image(bytes, name);
    const DecodedPart whole{image.decode()};
    CHECK(image.size() == ImageSize{whole.pixels_HWC.size(0), whole.pixels_HWC.size(1)});
    Random random(1, 0, bytes.size(), Purpose::kAugment);
    const int trials = bytes.size() < 10'000 ? 100 : 15;
    for (int trial = 0; trial < trials; ++trial) {
      const Box box = some_box(image.size(), random);
      CAPTURE(trial);
      REQUIRE(torch::equal(cut(image.decode(box), box), cut(whole, box)));
    }
    CHECK(torch::equal(image.decode(), whole.pixels_HWC));  // a second time too
  }
}

TEST_CASE("encoded image: a part at a smaller scale holds the region, is no smaller than asked, and looks alike") {
  int smaller = 0;
  for (const auto& [name, bytes] : some_files()) {
    CAPTURE(name);
    EncodedImage image(bytes, name);
    const auto whole_HWC = image.decode();
    Random random(2, 0, bytes.size(), Purpose::kAugment);
    for (int trial = 0; trial < 20; ++trial) {
      CAPTURE(trial);
      const Box box = some_box(image.size(), random);
      const ImageSize wanted{std::max<int64_t>(1, box.height / 3), std::max<int64_t>(1, box.width / 3)};
      const DecodedPart part = image.decode(box, wanted);
      if (part.scale == 1.0) continue;
      ++smaller;
      CHECK(static_cast<double>(box.height) * part.scale >= static_cast<double>(wanted.height));
      CHECK(static_cast<double>(box.width) * part.scale >= static_cast<double>(wanted.width));
      const Region region{static_cast<double>(box.top) * part.scale, static_cast<double>(box.left) * part.scale,
                          static_cast<double>(box.height) * part.scale, static_cast<double>(box.width) * part.scale};
      const auto small_CHW =
          resize_to_planes(part.pixels_HWC, part.top, part.left, cut_of(region, wanted), Filter::kBicubic);
      const auto exact_HWC = resize(whole_HWC, box, wanted, Filter::kBicubic);
      const auto difference = small_CHW.permute({1, 2, 0}).to(torch::kFloat32) - exact_HWC.to(torch::kFloat32);
      CHECK(difference.abs().mean().item<float>() < 6.0F);
    }
  }
  CHECK(smaller > 30);
}

TEST_CASE("encoded image: a truncated file is refused wherever it ends, whichever part is wanted") {
  for (const auto& [name, bytes] : read_safetensors(golden("decode.safetensors")).tensors) {
    if (!name.starts_with("in.jpeg")) continue;
    CAPTURE(name);
    const auto all = bytes_of(bytes);
    for (size_t size = 0; size < all.size(); ++size) {
      CAPTURE(size);
      const std::vector<uint8_t> start(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK(contains(error_of([&] { EncodedImage(start, "cut").decode({0, 0, 1, 1}); }), "cut: expected"));
    }
  }
}

TEST_CASE("encoded image: damaged files give a part or an Error, at any scale") {
  for (const auto& [name, bytes] : read_safetensors(golden("decode.safetensors")).tensors) {
    if (!name.starts_with("in.jpeg")) continue;
    Random random(4, 0, name.size(), Purpose::kAugment);
    for (int trial = 0; trial < 200; ++trial) {
      auto damaged = bytes_of(bytes);
      for (int64_t flips = random.integer(1, 9); flips > 0; --flips) {
        damaged[static_cast<size_t>(random.integer(0, std::ssize(damaged)))] ^=
            static_cast<uint8_t>(1 << random.integer(0, 8));
      }
      try {
        EncodedImage image(damaged, name);
        const Box box = some_box(image.size(), random);
        const DecodedPart part = image.decode(box, {random.integer(1, 40), random.integer(1, 40)});
        require_pixels(part.pixels_HWC, name);
      } catch (const Error&) {
      }
    }
  }
}

TEST_CASE("encoded image: a part outside of the image is refused") {
  const auto bytes = bytes_of(read_safetensors(golden("decode.safetensors")).tensors.at("in.jpeg_420"));
  EncodedImage image(bytes, "a.jpg");
  const ImageSize size = image.size();
  CHECK(contains(error_of([&] { image.decode({0, 1, 1, size.width}); }), "a.jpg: expected a part within"));
  CHECK_THROWS_AS(image.decode({0, 0, 0, 1}), Error);
  CHECK_THROWS_AS(image.decode({-1, 0, 1, 1}), Error);
}

TEST_CASE("encoded image: turned upright where that is wished, part and whole alike") {
  const auto tensors = read_safetensors(golden("formats.safetensors")).tensors;
  int turned = 0;
  for (const auto& [name, file] : tensors) {
    if (!name.starts_with("exif.")) continue;
    CAPTURE(name);
    const auto bytes = bytes_of(file);
    const auto stored_HWC = decode_image(bytes, name);
    const auto upright_HWC = apply_orientation(stored_HWC, exif_orientation(bytes));
    EncodedImage as_stored(bytes, name), upright(bytes, name, /*upright=*/true);
    CHECK(torch::equal(as_stored.decode(), stored_HWC));
    CHECK(upright.size() == ImageSize{upright_HWC.size(0), upright_HWC.size(1)});
    const Box box{1, 0, upright.size().height - 1, upright.size().width};
    CHECK(torch::equal(cut(upright.decode(box), box), upright_HWC.slice(0, 1)));
    CHECK(torch::equal(upright.decode(), upright_HWC));
    ++turned;
  }
  CHECK(turned == 6);
}
