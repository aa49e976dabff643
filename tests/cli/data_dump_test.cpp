// Shape letters: N images, P patches.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "data/augment.h"
#include "data/image.h"
#include "data/orientation.h"
#include "data/resize.h"
#include "io/safetensors.h"
#include "tests/cli/started.h"
#include "tests/data/samples.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// Five images.
struct Images {
  TemporaryFolder root;
  std::string images = (root.path / "images").string(), out = (root.path / "out.safetensors").string();

  Images() {
    for (int64_t i = 0; i < 5; ++i) write_bytes(path(i), encode_png(pixels(i)));
  }
  fs::path path(int64_t i) const { return fs::path(images) / fmt::format("{}.png", i); }
  static torch::Tensor pixels(int64_t i) { return picture(40, 50, static_cast<uint64_t>(i)); }

  TensorFile dumped(std::vector<std::string> words) const {
    words.insert(words.begin(), {"data", "dump", "--data", images, "--output", out, "--image-size", "32"});
    const auto ended = start(words);
    CAPTURE(ended.err);
    REQUIRE(ended.code == 0);
    return read_safetensors(out);
  }
};

TEST_CASE("data dump: evaluation views are those of the library, in the order of the paths") {
  const Images data;
  const auto file = data.dumped({"--transform", "eval"});
  const auto images_NCHW = file.tensors.at("images");
  CHECK(images_NCHW.sizes() == torch::IntArrayRef({5, 3, 32, 32}));
  const auto paths = nlohmann::json::parse(file.metadata.at("paths"));
  for (int64_t i = 0; i < 5; ++i) {
    CHECK(paths.at(static_cast<size_t>(i)) == data.path(i).string());
    const auto view_CHW = to_float(evaluation_pixels(Images::pixels(i), {32, 32}), kImagenetScale);
    CHECK((images_NCHW[i] - view_CHW).abs().max().item<float>() < 1e-5);
  }
  CHECK(file.tensors.size() == 1);
  CHECK(data.dumped({"--transform", "eval", "--count", "3"}).tensors.at("images").size(0) == 3);
}

TEST_CASE("data dump: pre-training's two views are one crop, and its mask has as many patches as it should") {
  const Images data;
  const auto views = data.dumped({"--transform", "pretrain", "--patch-size", "8", "--seed", "3"}).tensors;
  const auto mask_NP = views.at("mask");
  CHECK(mask_NP.sizes() == torch::IntArrayRef({5, 16}));
  CHECK((mask_NP.sum(1) == 6).all().item<bool>());  // 75 of 196
  const auto channel = [](std::array<float, 3> v) { return torch::tensor({v[0], v[1], v[2]}).view({3, 1, 1}); };
  const auto unit = views.at("images") * channel(kImagenetScale.std) + channel(kImagenetScale.mean);
  CHECK((unit - views.at("tokenizer_images")).abs().max().item<float>() < 1e-5);

  const auto again = data.dumped({"--patch-size", "8", "--seed", "3", "--workers", "5"}).tensors;
  for (const auto& [name, tensor] : views) CHECK(torch::equal(tensor, again.at(name)));
  const auto other = data.dumped({"--patch-size", "8", "--seed", "4"}).tensors;
  const auto later = data.dumped({"--patch-size", "8", "--seed", "3", "--epoch", "1"}).tensors;
  CHECK(!torch::equal(other.at("images"), views.at("images")));
  CHECK(!torch::equal(later.at("images"), views.at("images")));
}

TEST_CASE("data dump: views of VQ-KD lie in [0, 1]; fine-tuning's augmentations can be turned off") {
  const Images data;
  const auto vqkd = data.dumped({"--transform", "vqkd"}).tensors.at("images");
  CHECK(vqkd.min().item<float>() >= 0.0F);
  CHECK(vqkd.max().item<float>() <= 1.0F);
  const auto channel = [](std::array<float, 3> v) { return torch::tensor({v[0], v[1], v[2]}).view({3, 1, 1}); };
  const auto normal = (vqkd - channel(kImagenetScale.mean)) / channel(kImagenetScale.std);
  const auto plain =
      data.dumped({"--transform", "finetune", "--rand-augment", "none", "--random-erasing", "0"}).tensors.at("images");
  CHECK((plain - normal).abs().max().item<float>() < 1e-5);
  CHECK(!torch::equal(data.dumped({"--transform", "finetune"}).tensors.at("images"), plain));
}

TEST_CASE("data dump: images are turned upright where that is asked for") {
  const Images data;
  fs::remove_all(data.images);
  std::vector<torch::Tensor> stored, upright;
  for (const auto& [name, file] : read_safetensors(golden("formats.safetensors")).tensors) {
    if (!name.starts_with("exif.")) continue;
    const auto bytes = bytes_of(file);
    write_bytes(fs::path(data.images) / (name + ".jpg"), bytes);
    const auto view_of = [](const torch::Tensor& pixels_HWC) {
      return to_float(evaluation_pixels(pixels_HWC, {32, 32}), kImagenetScale);
    };
    const auto pixels_HWC = decode_image(bytes, name);
    stored.push_back(view_of(pixels_HWC));
    upright.push_back(view_of(apply_orientation(pixels_HWC, exif_orientation(bytes))));
  }
  REQUIRE(stored.size() == 6);
  const std::vector<std::string> small{"--transform", "eval"};
  auto turned = small;
  turned.emplace_back("--apply-orientation");
  CHECK(torch::allclose(data.dumped(small).tensors.at("images"), torch::stack(stored), 0, 1e-5));
  CHECK(torch::allclose(data.dumped(turned).tensors.at("images"), torch::stack(upright), 0, 1e-5));
}

TEST_CASE("data dump: pictures are the views") {
  const Images data;
  const auto folder = data.root.path / "pictures";
  data.dumped({"--transform", "pretrain", "--patch-size", "8", "--png", folder.string(), "--count", "2"});
  CHECK(std::distance(fs::directory_iterator(folder), {}) == 6);
  const auto bytes_at = [&](const char* name) {
    std::ifstream stream(folder / name, std::ios::binary);
    return std::vector<uint8_t>{std::istreambuf_iterator<char>(stream), {}};
  };
  const auto student_HWC = decode_image(bytes_at("000001-images.png"), "student");
  CHECK(torch::equal(student_HWC, decode_image(bytes_at("000001-tokenizer_images.png"), "tokenizer")));
  const auto masked_HWC = decode_image(bytes_at("000001-mask.png"), "mask");
  CHECK((masked_HWC == 127).all(-1).sum().item<int64_t>() >= 6 * 8 * 8);
  CHECK(!torch::equal(masked_HWC, student_HWC));
}

TEST_CASE("data bench: the last line is one JSON object with the rate and where the time goes") {
  const Images data;
  for (const char* transform : {"pretrain", "vqkd", "finetune", "eval"}) {
    CAPTURE(transform);
    const auto ended = start({"data", "bench", "--data", data.images, "--transform", transform, "--image-size", "32",
                              "--batch-size", "2", "--batches", "4", "--decode", "exact"});
    REQUIRE(ended.code == 0);
    const auto line = nlohmann::json::parse(ended.out);
    CHECK(line.at("images_per_s").get<double>() > 0);
    CHECK(line.at("decode") == "exact");
    for (const char* stage : {"read", "decode", "resize", "rest"}) {
      CHECK(line.at("us_per_image").at(stage).get<double>() >= 0);
    }
  }
}

TEST_CASE(
    "data dump and bench: a damaged image ends an evaluation and is replaced in training; mistakes are one line") {
  const Images data;
  std::ofstream(data.path(2)) << "damaged";
  const auto dump = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"data", "dump", "--data", data.images, "--image-size", "32"});
    return start(words);
  };
  const auto refused = [](const Ended& ended, const char* part) {
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(part) != std::string::npos);
  };
  refused(dump({"--output", data.out, "--transform", "eval"}), "2.png: expected");
  CHECK(!fs::exists(data.out));
  const auto replaced = dump({"--output", data.out, "--max-damaged", "0.5"});
  CHECK(replaced.code == 0);
  CHECK(replaced.err.find("2.png: expected") != std::string::npos);
  CHECK(read_safetensors(data.out).tensors.at("images").size(0) == 5);

  refused(dump({}), "set --output FILE or --png DIR");
  refused(dump({"--output", data.path(0).string()}), "apart from what is read");
  refused(dump({"--png", data.images + "/views"}), "expected a folder apart from what is read");
  refused(dump({"--output", data.out, "--transform", "finetune", "--rand-augment", "rand-x3"}), "rand");
  refused(start({"data", "bench", "--data", data.images, "--batch-size", "100"}), "make the batch smaller");
}

}  // namespace
}  // namespace beit
