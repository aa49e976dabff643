#include <doctest/doctest.h>

#include <algorithm>

#include "data/augment.h"
#include "data/image.h"
#include "data/resize.h"
#include "tests/cli/started.h"
#include "tests/data/samples.h"
#include "tests/train/small_models.h"
#include "viz/atlas.h"
#include "viz/code_card.h"
#include "viz/picture.h"
#include "viz/shared_codes.h"
#include "viz/surroundings.h"

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

  torch::Tensor views() const {
    std::vector<torch::Tensor> all;
    for (const auto& image_HWC : pixels_HWC) all.push_back(to_float(image_HWC));
    return torch::stack(all);
  }

  torch::Tensor codes() { return tokenizer->codes(views()); }
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

  const auto rows = telling_codes(coded.codes(), coded.labels_I, kSmallCodes, {.rows = 5, .columns = 3});
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
  refused({"--tokenizer", model, "--data", images, "--output", output + ".jpg"}, "set --output FILE.png or FOLDER");
  refused({"--tokenizer", model, "--data", images, "--output", folder.string()}, "got a folder");
  refused({"--tokenizer", model, "--data", output, "--output", output}, "got nothing there");
  refused({"--tokenizer", model, "--data", empty.string(), "--output", output}, "got none; give another path");
  refused({"--tokenizer", pretrained.string(), "--data", images, "--output", output}, "got a pre-trained model");
  refused({"--tokenizer", model, "--data", images, "--output", output, "--rows", "0"}, "set --output FOLDER");
  refused({"--tokenizer", model, "--data", images, "--output", output, "--code", "16"}, "code: expected");
  refused({"--tokenizer", model, "--data", images, "--output", (coded.images / "codes").string()},
          "expected a folder apart from what is read");
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

TEST_CASE("codes: the codes that are named are drawn, in that order and each once") {
  CodedImages coded;
  const auto codes_IN = coded.codes();
  const auto first = codes_IN.max().item<int64_t>(), second = codes_IN.min().item<int64_t>();
  REQUIRE(first != second);
  const auto ended = start({"codes", "--tokenizer", coded.model.string(), "--data", coded.images.string(), "--output",
                            coded.output.string(), "--columns", "2", "--code", std::to_string(first), "--code",
                            std::to_string(second), "--code", std::to_string(first), "--device", "cpu"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  const auto rows = spread_examples(codes_IN, {first, second}, kSmallCodes, 2);
  const auto expected_HWC =
      code_mosaic(rows, {4, 4}, [&](int64_t image) { return coded.pixels_HWC[static_cast<size_t>(image)]; });
  CHECK(torch::equal(read_image(coded.output), expected_HWC));
}

/// Names of what lies in a folder, sorted.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

TEST_CASE("codes: a folder holds a picture of each code in use, an overview and a table of all, and leaves all else") {
  CodedImages coded;
  const auto folder = coded.root.path / "atlas";
  fs::create_directories(folder);
  std::ofstream(folder / "code-notes.png") << "mine";
  std::ofstream(folder / "atlas.csv") << "old";
  const auto ended = start({"codes", "--tokenizer", coded.model.string(), "--data", coded.images.string(), "--output",
                            folder.string(), "--rows", "0", "--columns", "3", "--batch-size", "4", "--device", "cpu"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.err.empty());
  CHECK(text_of(folder / "code-notes.png") == "mine");

  AtlasBuilder builder(kSmallCodes, {4, 4}, 3);
  const auto found = coded.tokenizer->nearest(coded.views());
  builder.add(torch::arange(6), found.ids_BN, found.similarity_BN);
  const auto atlas = builder.finish();
  std::vector<std::string> expected{"atlas.csv", "code-notes.png", "overview.png"};
  std::vector<std::string> lines{"code,uses,share,images,similarity"};
  for (int64_t code = 0; code < kSmallCodes; ++code) {
    const auto uses = atlas.uses_K[code].item<int64_t>();
    if (uses > 0) expected.push_back(fmt::format("code-{:05d}.png", code));
    lines.push_back(fmt::format("{},{},{:.6g},{},", code, uses, static_cast<double>(uses) / 96,
                                atlas.images_K[code].item<int64_t>()));
  }
  std::ranges::sort(expected);
  CHECK(names_in(folder) == expected);
  std::istringstream table(text_of(folder / "atlas.csv"));
  std::string line;
  for (const std::string& start_of_line : lines) {
    REQUIRE(static_cast<bool>(std::getline(table, line)));
    CHECK(line.starts_with(start_of_line));
  }
  CHECK(!std::getline(table, line));

  const auto code = atlas.uses_K.argmax().item<int64_t>();
  std::vector<torch::Tensor> examples;
  for (const CodeExample& example : atlas.examples[static_cast<size_t>(code)]) {
    const auto around = surroundings_of(example.place.patch, {4, 4}, 2);
    const auto& pixels_HWC = coded.pixels_HWC[static_cast<size_t>(example.place.image)];
    examples.push_back(outlined_patch(cut_surroundings(pixels_HWC, {4, 4}, around), around, 80));
  }
  CHECK(torch::equal(read_image(folder / fmt::format("code-{:05d}.png", code)),
                     code_card(atlas, code, {4, 4}, examples)));
}

TEST_CASE("codes: pictures from before that are no part of the atlas stay in its folder, and are named") {
  CodedImages coded;
  const auto folder = coded.root.path / "atlas";
  const auto draw = [&](const std::string& code) {
    return start({"codes", "--tokenizer", coded.model.string(), "--data", coded.images.string(), "--output",
                  folder.string(), "--code", code, "--device", "cpu"});
  };
  CHECK(draw("15").err.empty());
  CHECK(draw("15").err.empty());
  CHECK(draw("2").err.find("lie there still, 1 in all, code-00015.png to") != std::string::npos);
  CHECK(fs::exists(folder / "code-00015.png"));
}

TEST_CASE("codes: a folder may hold the most telling codes alone, or those that are named, used or not") {
  CodedImages coded;
  const auto folder = coded.root.path / "atlas";
  const auto drawn = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"codes", "--tokenizer", coded.model.string(), "--data", coded.images.string(),
                                 "--output", folder.string(), "--device", "cpu"});
    fs::remove_all(folder);
    const auto ended = start(words);
    CAPTURE(ended.err);
    REQUIRE(ended.code == 0);
    return names_in(folder);
  };
  CHECK(drawn({"--rows", "3"}).size() == 3 + 2);
  const auto named = drawn({"--code", "15", "--code", "2"});
  CHECK(named == std::vector<std::string>{"atlas.csv", "code-00002.png", "code-00015.png", "overview.png"});
}

TEST_CASE("codes mosaic: each patch is the nearest one of its code in other images, and grey where there is none") {
  CodedImages coded;
  const auto image = coded.images / "a" / "1.png";
  const auto ended = start({"codes", "mosaic", "--tokenizer", coded.model.string(), "--image", image.string(), "--data",
                            coded.images.string(), "--output", coded.output.string(), "--device", "cpu"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.err.empty());

  AtlasBuilder builder(kSmallCodes, {4, 4}, 1);
  const auto found = coded.tokenizer->nearest(coded.views());
  const auto others = torch::tensor({0, 2, 3, 4, 5});  // the image itself is among the data
  builder.add(others, found.ids_BN.index_select(0, others), found.similarity_BN.index_select(0, others));
  const auto atlas = builder.finish();
  auto made_HWC = torch::full({32, 32, 3}, 127, torch::kUInt8);
  int64_t patches = 0;
  for (int64_t patch = 0; patch < 16; ++patch) {
    const auto& examples = atlas.examples[static_cast<size_t>(found.ids_BN[1][patch].item<int64_t>())];
    if (examples.empty()) continue;
    const auto [source, from] = examples.front().place;
    const auto part_HWC = coded.pixels_HWC[static_cast<size_t>(source)].slice(0, from / 4 * 8, from / 4 * 8 + 8);
    made_HWC.slice(0, patch / 4 * 8, patch / 4 * 8 + 8)
        .slice(1, patch % 4 * 8, patch % 4 * 8 + 8)
        .copy_(part_HWC.slice(1, from % 4 * 8, from % 4 * 8 + 8));
    ++patches;
  }
  CHECK(ended.out.find(fmt::format("{} of 16 patches made of those in 5 images", patches)) != std::string::npos);
  const auto picture_HWC = read_image(coded.output);
  REQUIRE(picture_HWC.sizes() == torch::IntArrayRef({32, 32 + 4 + 32, 3}));
  CHECK(torch::equal(picture_HWC.slice(1, 0, 32), coded.pixels_HWC[1]));
  CHECK(torch::equal(picture_HWC.slice(1, 36), made_HWC));
}

TEST_CASE("codes shared: prints how many codes two images share, and draws them") {
  CodedImages coded;
  const auto first = coded.images / "a" / "0.png", second = coded.images / "b" / "2.png";
  const auto ended = start({"codes", "shared", "--tokenizer", coded.model.string(), "--image", first.string(),
                            "--image", second.string(), "--output", coded.output.string(), "--rows", "3", "--columns",
                            "2", "--quiet", "--device", "cpu"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  const auto codes_IN = coded.codes();
  const auto shared = shared_codes(codes_IN[0], codes_IN[5]);
  CHECK(ended.out == fmt::format("{} codes shared, of {} and {}; Jaccard index {:.4f}\n", shared.codes.size(),
                                 shared.held[0], shared.held[1], shared.jaccard()));
  const auto expected_HWC =
      shared_codes_picture({coded.pixels_HWC[0], coded.pixels_HWC[5]}, shared, {4, 4}, {.rows = 3, .columns = 2});
  CHECK(torch::equal(read_image(coded.output), expected_HWC));
}

TEST_CASE("codes mosaic and shared: images of other sizes are seen by the evaluation view") {
  CodedImages coded;
  const auto large = coded.root.path / "large.png";
  write_png(large, torch::randint(0, 256, {50, 71, 3}, torch::kUInt8));
  const auto mosaic = start({"codes", "mosaic", "--quiet", "--tokenizer", coded.model.string(), "--image",
                             large.string(), "--data", coded.images.string(), "--output", coded.output.string()});
  CAPTURE(mosaic.err);
  REQUIRE(mosaic.code == 0);
  CHECK(torch::equal(read_image(coded.output).slice(1, 0, 32), evaluation_pixels(read_image(large), {32, 32})));
  const auto shared = start({"codes", "shared", "--quiet", "--tokenizer", coded.model.string(), "--image",
                             large.string(), "--image", large.string(), "--output", coded.output.string()});
  CAPTURE(shared.err);
  REQUIRE(shared.code == 0);
  CHECK(shared.out.find("Jaccard index 1.0000") != std::string::npos);
}

TEST_CASE("codes mosaic and shared: mistakes are one line, and nothing is written") {
  CodedImages coded;
  const std::string model = coded.model.string(), images = coded.images.string(), output = coded.output.string();
  const std::string image = (coded.images / "a" / "0.png").string();
  const auto refused = [](std::vector<std::string> words, const std::string& message) {
    words.insert(words.begin(), "codes");
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(ended.code == 1);
    CHECK(ended.err.starts_with("beit: error: "));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused({"mosaic", "--image", image, "--data", images, "--output", output}, "set --tokenizer FILE or RUN");
  refused({"mosaic", "--tokenizer", model, "--data", images, "--output", output}, "set --image FILE");
  refused({"mosaic", "--tokenizer", model, "--image", image, "--output", output}, "set --data PATH");
  refused({"mosaic", "--tokenizer", model, "--image", image, "--data", images}, "set --output FILE.png");
  refused({"mosaic", "--tokenizer", model, "--image", images, "--data", images, "--output", output},
          "expected a single image, got 6");
  refused({"mosaic", "--tokenizer", model, "--image", image, "--data", images, "--output", image},
          "apart from what is read");
  refused({"mosaic", "--tokenizer", model, "--image", image, "--data", image, "--output", output},
          "expected other readable images");
  refused({"shared", "--tokenizer", model, "--image", image, "--output", output}, "got 1; set --image FILE twice");
  refused({"shared", "--tokenizer", model, "--image", image, "--image", image, "--output", image},
          "apart from what is read");
  refused({"shard"}, "they are codes mosaic, codes shared");
  CHECK(!fs::exists(coded.output));
}

}  // namespace
}  // namespace beit
