// `beit decode` and `beit decode images`, on the demo's images and made-up ones, with tiny networks.
#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/resize.h"
#include "tests/cli/started.h"
#include "tests/data/samples.h"
#include "tests/train/small_models.h"
#include "viz/tiles.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

std::string demo_images(const std::string& part) {
  return (source_folder() / ("demo/data/cifar10-small-" + part + ".tar")).string();
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

torch::Tensor read_image(const fs::path& path) {
  const std::string bytes = text_of(path);
  return decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, path.string());
}

std::vector<nlohmann::json> log_of(const fs::path& run) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(run / "log.jsonl");
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// A tokenizer, a decoder of its codes, and images of several sizes in folders.
struct Coded {
  TemporaryFolder root;
  fs::path tokenizer_path = root.path / "tokenizer.safetensors", weights = root.path / "decoder" / "model.safetensors",
           images = root.path / "images", output = root.path / "pictures";
  Tokenizer tokenizer = write_small_tokenizer(tokenizer_path);
  PixelDecoder decoder = nullptr;
  Words names{"a/0.png", "a/1.png", "b/2.png"};

  Coded() {
    fs::create_directories(weights.parent_path());
    decoder = write_small_decoder(weights, tokenizer, tokenizer_path);
    for (uint64_t i = 0; i < 3; ++i) {
      const auto side = static_cast<int64_t>(32 + 6 * i);
      write_png(images / names[i], picture(side, 40, i));
    }
  }

  Ended decode(const Words& more) const {
    Words words{"decode",        "images",   "--weights", weights.string(), "--output",
                output.string(), "--device", "cpu",       "--batch-size",   "2"};
    words.insert(words.end(), more.begin(), more.end());
    return start(words);
  }
  /// What the tokenizer sees of an image: [1, 3, 32, 32].
  torch::Tensor view(const std::string& name) const {
    return to_float(evaluation_pixels(read_image(images / name), {32, 32})).unsqueeze(0);
  }
  torch::Tensor codes(const std::string& name) { return tokenizer->codes(view(name)); }
};

Ended train(const fs::path& run, const fs::path& tokenizer, const Words& more) {
  Words words{"decode", "--data", demo_images("test"), "--tokenizer", tokenizer.string(), "--output", run.string()};
  for (const char* word : {"--width", "16", "--depth", "2", "--heads", "2", "--batch-size", "200", "--epochs", "2",
                           "--warmup-epochs", "1", "--lr", "5e-3", "--log-every", "1", "--device", "cpu"}) {
    words.emplace_back(word);
  }
  words.insert(words.end(), more.begin(), more.end());
  return start(words);
}

TEST_CASE("decode: a run cut off in the middle of an epoch and resumed equals an unbroken one") {
  const Coded coded;
  const fs::path whole = coded.root.path / "whole", cut = coded.root.path / "cut";
  const auto first = train(whole, coded.tokenizer_path, {"--val-data", demo_images("test")});
  CAPTURE(first.err);
  REQUIRE(first.code == 0);
  CHECK(has(first.out, "16 codes of width 4 ("));
  const int64_t steps = log_of(whole).front().at("steps");
  REQUIRE(steps > 3);
  REQUIRE(train(cut, coded.tokenizer_path, {"--steps", "3"}).code == 0);
  const auto second = train(cut, coded.tokenizer_path, {"--workers", "1"});
  CAPTURE(second.err);
  REQUIRE(second.code == 0);
  CHECK(has(second.out, fmt::format("resumed after step 3 of {}", steps)));
  const auto expected = read_safetensors(whole / "model.safetensors").tensors,
             got = read_safetensors(cut / "model.safetensors").tensors;
  REQUIRE(got.size() == expected.size());
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    CHECK(torch::equal(got.at(name), value));
  }

  // What others rely on.
  std::vector<double> losses;
  nlohmann::json last;
  for (const auto& line : log_of(whole)) {
    if (!line.contains("event")) losses.push_back(line.at("loss"));
    if (line.value("event", "") == "epoch") last = line;
    if (line.contains("event")) continue;
    for (const char* key : {"absolute_difference", "psnr", "lr", "grad_norm"}) CHECK(line.contains(key));
  }
  CHECK(losses.back() < losses.front());
  for (const char* key : {"val_loss", "val_absolute_difference", "val_psnr", "val_ssim"}) {
    CAPTURE(key);
    CHECK(last.contains(key));
  }
  CHECK(has(start({"runs", whole.string()}).out, "val_psnr "));
  CHECK(has(start({"runs", whole.string()}).out, " dB"));
  const auto facts = nlohmann::json::parse(start({"inspect", "--json", whole.string()}).out);
  CHECK(facts.at("content") == "a pixel decoder");
  CHECK(facts.at("network").at("codes") == kSmallCodes);
  CHECK(facts.at("network").at("patch_size") == 8);
  CHECK(facts.at("network").at("grid") == "4x4");
  CHECK(!facts.at("network").contains("missing"));
  CHECK(facts.at("codebook").at("width") == 4);
  CHECK(facts.at("metadata").at("tokenizer") == tokenizer_identity(coded.tokenizer));
  CHECK(load_pixel_decoder(whole).choice.tokenizer == coded.tokenizer_path.string());
}

TEST_CASE("decode: a run does not go on with another tokenizer under the same path") {
  const Coded coded;
  const fs::path run = coded.root.path / "run";
  REQUIRE(train(run, coded.tokenizer_path, {"--steps", "2"}).code == 0);
  TensorFile other = read_safetensors(coded.tokenizer_path);
  for (auto& [name, tensor] : other.tensors) tensor = tensor.clone();
  other.tensors.at("encode_task_layer.2.bias").add_(1);
  write_safetensors(coded.tokenizer_path, other.tensors, other.metadata);
  const auto refused = train(run, coded.tokenizer_path, {});
  CHECK(refused.code == 1);
  CHECK(has(refused.err, "tokenizer 16 codes of width 4 ("));
  CHECK(train(run, coded.tokenizer_path, {"--steps", "1", "--resume", "never"}).code == 0);
}

TEST_CASE("decode images: each image beside what its codes become, under its path below --data") {
  Coded coded;
  const auto ended = coded.decode({"--data", coded.images.string()});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(has(ended.out, "3 images decoded: mean absolute difference "));
  for (const std::string& name : coded.names) {
    CAPTURE(name);
    const auto decoded_BCHW = coded.decoder->reconstruct(coded.codes(name));
    const auto expected_HWC = side_by_side({coded.view(name), decoded_BCHW});
    const auto found_HWC = read_image(coded.output / name);
    REQUIRE(found_HWC.sizes() == expected_HWC.sizes());
    CHECK((found_HWC.to(torch::kInt64) - expected_HWC.to(torch::kInt64)).abs().max().item<int64_t>() <= 1);
    CHECK(torch::equal(found_HWC.narrow(1, 0, 32), expected_HWC.narrow(1, 0, 32)));
  }
}

TEST_CASE("decode images: codes from a file give the same pictures, without tokenizer and images") {
  Coded coded;
  const auto file = coded.root.path / "codes.safetensors";
  REQUIRE(start({"tokenize", "--quiet", "--tokenizer", coded.tokenizer_path.string(), "--data", coded.images.string(),
                 "--output", file.string()})
              .code == 0);
  std::vector<torch::Tensor> expected;
  for (const std::string& name : coded.names) expected.push_back(coded.decoder->reconstruct(coded.codes(name)));
  fs::remove(coded.tokenizer_path);
  const auto ended = coded.decode({"--codes", file.string()});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto found_HWC = read_image(coded.output / fmt::format("{:06}.png", i));
    const auto difference = found_HWC.to(torch::kInt64) - side_by_side({expected[i]}).to(torch::kInt64);
    CHECK(difference.abs().max().item<int64_t>() <= 1);
  }

  // Codes on another grid make pictures of that shape.
  fs::remove_all(coded.output);
  write_safetensors(file, {{"codes", torch::zeros({1, 6}, torch::kInt32)}}, {{"command", "tokenize"}, {"grid", "2x3"}});
  REQUIRE(coded.decode({"--codes", file.string()}).code == 0);
  CHECK(read_image(coded.output / "000000.png").sizes() == torch::IntArrayRef({16, 24, 3}));
}

TEST_CASE("decode images: what cannot work is refused, with what to try") {
  Coded coded;
  const std::string images = coded.images.string(), tokenizer = coded.tokenizer_path.string();
  const auto file = (coded.root.path / "codes.safetensors").string();
  const auto refused = [&](const Words& words, const std::string& message) {
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(ended.code == 1);
    CHECK(std::ranges::count(ended.err, '\n') == 1);
    CHECK(has(ended.err, message));
  };
  const auto with = [&](const Words& more) {
    Words words{"decode", "images", "--quiet", "--weights", coded.weights.string(), "--output", coded.output.string()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  refused({"decode", "--quiet", "--data", images, "--output", coded.output.string()}, "set --tokenizer FILE or RUN");
  refused({"decode", "images", "--quiet", "--data", images}, "set --weights FILE or RUN");
  refused({"decode", "images", "--quiet", "--weights", coded.weights.string(), "--data", images},
          "set --output FOLDER");
  refused({"decode", "images", "--quiet", "--weights", tokenizer, "--data", images, "--output", coded.output.string()},
          "expected a pixel decoder, got a tokenizer");
  refused(with({}), "got neither; set one");
  refused(with({"--data", images, "--codes", file}), "got both; set one");
  refused({"decode", "images", "--quiet", "--weights", coded.weights.string(), "--data", images, "--output",
           images + "/in"},
          "expected a folder apart from what is read");

  const auto put_codes = [&](const torch::Tensor& codes_MN, const std::string& grid, const std::string& of = {}) {
    std::map<std::string, std::string> metadata{{"command", "tokenize"}, {"grid", grid}};
    if (!of.empty()) metadata["tokenizer"] = of;
    write_safetensors(file, {{"codes", codes_MN}}, metadata);
  };
  const auto codes_MN = torch::zeros({2, 16}, torch::kInt32);
  put_codes(codes_MN + kSmallCodes, "4x4");
  refused(with({"--codes", file}), "expected codes in [0, 16), got 16 to 16");
  put_codes(codes_MN - 1, "4x4");
  refused(with({"--codes", file}), "expected codes in [0, 16), got -1 to -1");
  for (const char* grid : {"", "4", "4x", "x4", "4x5", "-4x-4", "4x4x", "16x1 "}) {
    CAPTURE(grid);
    put_codes(codes_MN, grid);
    refused(with({"--codes", file}), "expected the grid of 16 patches");
  }
  put_codes(codes_MN.to(torch::kFloat32), "4x4");
  refused(with({"--codes", file}), "expected codes as `beit tokenize` writes them");
  put_codes(codes_MN, "4x4", "16 codes of width 4 (0000000000000000)");
  refused(with({"--codes", file}), "expected the tokenizer that");
  CHECK(!fs::exists(coded.output));

  // The tokenizer is gone, or another.
  const auto moved = coded.root.path / "moved.safetensors";
  fs::rename(coded.tokenizer_path, moved);
  refused(with({"--data", images}), "say where it is: --tokenizer FILE or RUN");
  CHECK(coded.decode({"--data", images, "--tokenizer", moved.string()}).code == 0);
  TensorFile other = read_safetensors(moved);
  for (auto& [name, tensor] : other.tensors) tensor = tensor.clone();
  other.tensors.at("quantize.embedding.weight").neg_();
  write_safetensors(coded.tokenizer_path, other.tensors, other.metadata);
  refused(with({"--data", images}), "or train a decoder for this one: `beit decode --tokenizer`");
}

TEST_CASE("decode images: damaged images are an error that names them, or are left out") {
  Coded coded;
  std::ofstream(coded.images / "a" / "1.png") << "damaged";
  const auto failed = coded.decode({"--data", coded.images.string(), "--quiet"});
  CHECK(failed_with_one_line(failed));
  CHECK(has(failed.err, "--skip-damaged leaves such images out"));
  const auto ended = coded.decode({"--data", coded.images.string(), "--skip-damaged"});
  CHECK(ended.code == 0);
  CHECK(has(ended.err, "1 damaged image was left out"));
  CHECK(has(ended.out, "2 images decoded"));
  CHECK(!fs::exists(coded.output / "a" / "1.png"));
  CHECK(fs::exists(coded.output / "b" / "2.png"));
}

}  // namespace
}  // namespace beit
