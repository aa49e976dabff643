#include <doctest/doctest.h>

#include "data/augment.h"
#include "data/image.h"
#include "tests/cli/started.h"
#include "tests/data/samples.h"
#include "tests/train/small_models.h"
#include "viz/picture.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

torch::Tensor read_image(const fs::path& path) {
  const std::string bytes = text_of(path);
  return decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, path.string());
}

/// Images of a tokenizer's size in two classes, in the order of their names.
struct CodedImages {
  TemporaryFolder root;
  fs::path images = root.path / "images", model = root.path / "model.safetensors", output = root.path / "codes.png";
  Tokenizer tokenizer = write_small_tokenizer(model);
  std::vector<torch::Tensor> pixels_HWC;
  torch::Tensor labels_I = torch::tensor({0, 0, 0, 1, 1, 1});

  CodedImages() {
    torch::manual_seed(4);
    for (const char* name : {"a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1.png", "b/2.png"}) {
      fs::create_directories((images / name).parent_path());
      pixels_HWC.push_back(torch::randint(0, 256, {32, 32, 3}, torch::kUInt8));
      write_png(images / name, pixels_HWC.back());
    }
  }
};

TEST_CASE("codes: the picture is that of the tokenizer's codes of the images") {
  CodedImages coded;
  const auto ended =
      start({"codes", "--tokenizer", coded.model.string(), "--data", coded.images.string(), "--output",
             coded.output.string(), "--rows", "5", "--columns", "3", "--batch-size", "4", "--device", "cpu"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.err.empty());
  CHECK(ended.out.find("5 of 16 codes, found in 6 images") != std::string::npos);

  std::vector<torch::Tensor> views;
  for (const auto& image_HWC : coded.pixels_HWC) views.push_back(to_float(image_HWC));
  const auto codes_IN = coded.tokenizer->codes(torch::stack(views));
  const auto rows = telling_codes(codes_IN, coded.labels_I, kSmallCodes, {.rows = 5, .columns = 3});
  const auto expected_HWC =
      code_mosaic(rows, {4, 4}, [&](int64_t image) { return coded.pixels_HWC[static_cast<size_t>(image)]; });
  CHECK(torch::equal(read_image(coded.output), expected_HWC));
}

TEST_CASE("codes: what cannot work is refused before the work, with what to try") {
  CodedImages coded;
  const auto empty = coded.root.path / "empty", pretrained = coded.root.path / "pretrained.safetensors";
  const auto folder = coded.root.path / "folder.png";
  fs::create_directories(empty);
  fs::create_directories(folder);
  write_small_pretrained(pretrained);
  const std::string model = coded.model.string(), images = coded.images.string(), output = coded.output.string();
  const auto refused = [](std::vector<std::string> words, const std::string& message) {
    words.insert(words.begin(), {"codes", "--quiet"});
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused({"--data", images, "--output", output}, "set --tokenizer FILE or RUN");
  refused({"--tokenizer", model, "--output", output}, "set --data PATH");
  refused({"--tokenizer", model, "--data", images}, "set --output FILE.png");
  refused({"--tokenizer", model, "--data", images, "--output", empty.string()}, "set --output FILE.png");
  refused({"--tokenizer", model, "--data", images, "--output", folder.string()}, "got a folder");
  refused({"--tokenizer", model, "--data", output, "--output", output}, "got nothing there");
  refused({"--tokenizer", model, "--data", empty.string(), "--output", output}, "got none; give another path");
  refused({"--tokenizer", pretrained.string(), "--data", images, "--output", output}, "got a pre-trained model");
  refused({"--tokenizer", model, "--data", images, "--output", output, "--rows", "0"},
          "--rows: expected a whole number of at least 1");
  CHECK(!fs::exists(coded.output));
}

TEST_CASE("codes: damaged images are named and left out, and the others keep their own patches") {
  CodedImages coded;
  const auto drawn = [&] {
    const auto ended = start({"codes", "--tokenizer", coded.model.string(), "--data", coded.images.string(), "--output",
                              coded.output.string(), "--device", "cpu"});
    CAPTURE(ended.err);
    REQUIRE(ended.code == 0);
    return ended;
  };
  std::ofstream(coded.images / "a" / "1.png") << "damaged";
  const auto with_damage = drawn();
  CHECK(with_damage.err.find("1.png") != std::string::npos);
  CHECK(with_damage.out.find("found in 5 images") != std::string::npos);
  const auto picture = read_image(coded.output);
  fs::remove(coded.images / "a" / "1.png");
  drawn();
  CHECK(torch::equal(read_image(coded.output), picture));

  for (const auto& entry : fs::recursive_directory_iterator(coded.images)) {
    if (entry.is_regular_file()) std::ofstream(entry.path()) << "damaged";
  }
  const auto none = start({"codes", "--quiet", "--tokenizer", coded.model.string(), "--data", coded.images.string(),
                           "--output", coded.output.string()});
  CHECK(none.code == 1);
  CHECK(none.err.find("expected images that can be read, got 5 damaged ones") != std::string::npos);
}

}  // namespace
}  // namespace beit
