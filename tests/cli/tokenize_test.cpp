#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "data/augment.h"
#include "data/image.h"
#include "data/resize.h"
#include "tests/cli/started.h"
#include "tests/data/samples.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Paths = std::vector<std::string>;

torch::Tensor noise(int64_t height, int64_t width, uint64_t seed) {
  torch::manual_seed(seed);
  return torch::randint(0, 256, {height, width, 3}, torch::kUInt8);
}

/// Five images of several sizes, not written in the order of their names, and a tokenizer.
struct Folder {
  TemporaryFolder root;
  fs::path run = root.path / "run", images = root.path / "images", output = root.path / "codes.safetensors";
  Tokenizer tokenizer = nullptr;
  Paths sorted;

  Folder() {
    fs::create_directories(run);
    fs::create_directories(images);
    tokenizer = write_small_tokenizer(run / "model.safetensors");
    uint64_t seed = 0;
    for (const char* name : {"c.png", "a.png", "e.png", "B.png", "d.png"}) {
      write_png(images / name, noise(32 + 5 * static_cast<int64_t>(seed), 40, seed));
      ++seed;
    }
    for (const char* name : {"B.png", "a.png", "c.png", "d.png", "e.png"}) sorted.push_back((images / name).string());
  }
};

torch::Tensor codes_of(Tokenizer& tokenizer, const std::string& path) {
  const std::string bytes = text_of(path);
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  const auto pixels_HWC = decode_image({data, bytes.size()}, path);
  return tokenizer->codes(to_float(evaluation_pixels(pixels_HWC, {32, 32})).unsqueeze(0))[0].to(torch::kInt32);
}

TEST_CASE("tokenize: codes of each image, rows in the sorted order of the paths") {
  Folder folder;
  const auto ended = start({"tokenize", "--tokenizer", folder.run.string(), "--data", folder.images.string(),
                            "--output", folder.output.string(), "--batch-size", "2", "--device", "cpu"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.err.empty());
  CHECK(ended.out.find("5 images in ") != std::string::npos);
  CHECK(ended.out.find("of 16 codes used, perplexity ") != std::string::npos);

  const TensorFile file = read_safetensors(folder.output);
  REQUIRE(file.tensors.size() == 1);
  const auto codes_MN = file.tensors.at("codes");
  CHECK((codes_MN.scalar_type() == torch::kInt32));
  REQUIRE(codes_MN.sizes() == torch::IntArrayRef({5, 16}));
  CHECK(nlohmann::json::parse(file.metadata.at("paths")).get<Paths>() == folder.sorted);
  CHECK(file.metadata.at("command") == "tokenize");
  for (size_t i = 0; i < 5; ++i) {
    CHECK(torch::equal(codes_MN[static_cast<int64_t>(i)], codes_of(folder.tokenizer, folder.sorted[i])));
  }
}

TEST_CASE("tokenize: the readable form has the path and a row of codes for each row of patches") {
  Folder folder;
  const auto ended = start({"tokenize", "--tokenizer", (folder.run / "model.safetensors").string(), "--data",
                            folder.sorted[2], "--print", "--quiet"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  const auto codes_N = codes_of(folder.tokenizer, folder.sorted[2]);
  std::istringstream lines(ended.out);
  std::string path;
  std::getline(lines, path);
  CHECK(path == folder.sorted[2]);
  for (int64_t i = 0; i < 16; ++i) {
    int code = -1;
    lines >> code;
    CHECK(code == codes_N[i].item<int32_t>());
  }
  CHECK(std::count(ended.out.begin(), ended.out.end(), '\n') == 5);
  CHECK(!fs::exists(folder.output));
}

TEST_CASE("tokenize: a damaged image is an error that names it, and nothing is written; or its row is left out") {
  Folder folder;
  const std::string whole = text_of(folder.sorted[1]);
  std::ofstream(folder.sorted[1], std::ios::binary) << whole.substr(0, whole.size() / 2);
  const auto failed = start({"tokenize", "--tokenizer", folder.run.string(), "--data", folder.images.string(),
                             "--output", folder.output.string(), "--quiet"});
  CAPTURE(failed.err);
  CHECK(failed_with_one_line(failed));
  CHECK(failed.err.find(folder.sorted[1]) != std::string::npos);
  CHECK(failed.err.find("--skip-damaged leaves such images out") != std::string::npos);
  CHECK(!fs::exists(folder.output));

  const auto skipped = start({"tokenize", "--tokenizer", folder.run.string(), "--data", folder.images.string(),
                              "--output", folder.output.string(), "--skip-damaged", "--batch-size", "2"});
  CHECK(skipped.code == 0);
  CHECK(skipped.err.find(folder.sorted[1]) != std::string::npos);
  CHECK(skipped.err.find("1 damaged image was left out") != std::string::npos);
  Paths rest = folder.sorted;
  rest.erase(rest.begin() + 1);
  const TensorFile file = read_safetensors(folder.output);
  CHECK(nlohmann::json::parse(file.metadata.at("paths")).get<Paths>() == rest);
  REQUIRE(file.tensors.at("codes").size(0) == 4);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(torch::equal(file.tensors.at("codes")[static_cast<int64_t>(i)], codes_of(folder.tokenizer, rest[i])));
  }
}

TEST_CASE("tokenize: what cannot work is refused before the work, with what to try") {
  Folder folder;
  const std::string run = folder.run.string(), images = folder.images.string();
  const auto refused = [](std::initializer_list<std::string> words, const std::string& message) {
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  const auto pretrained = (folder.root.path / "pretrained.safetensors").string();
  write_small_pretrained(pretrained);
  refused({"tokenize", "--quiet", "--tokenizer", pretrained, "--data", images, "--print"},
          "expected a tokenizer, got a pre-trained model");
  refused({"tokenize", "--quiet", "--tokenizer", run, "--data", images + "/none", "--print"}, images + "/none");
  refused({"tokenize", "--quiet", "--tokenizer", run, "--data", images, "--output", images}, "apart from what is read");
  refused({"tokenize", "--quiet", "--tokenizer", run, "--data", images, "--output", run + "/model.safetensors"},
          "apart from what is read");
  refused({"tokenize", "--quiet", "--tokenizer", run, "--data", images, "--output", folder.root.path.string()},
          "got a folder");
  refused({"tokenize", "--quiet", "--tokenizer", run, "--data", images, "--output", images + "/none/codes.safetensors"},
          "got a folder that is missing");
}

TEST_CASE("tokenize: an image smaller than a patch is enlarged like any other") {
  Folder folder;
  write_png(folder.images / "f.png", noise(3, 40, 9));
  const auto ended = start({"tokenize", "--quiet", "--tokenizer", folder.run.string(), "--data",
                            (folder.images / "f.png").string(), "--print"});
  CHECK(ended.code == 0);
  CHECK(ended.out.find("f.png") != std::string::npos);
}

}  // namespace
}  // namespace beit
