#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/knn.h"
#include "core/linear_probe.h"
#include "core/normalise.h"
#include "core/teacher.h"
#include "data/augment.h"
#include "data/image.h"
#include "tests/cli/started.h"
#include "tests/data/samples.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// Noise of the small model's size; images of class `light` are a little lighter, so that some are mistaken.
struct ClassFolders {
  TemporaryFolder root;
  fs::path train = root.path / "train", val = root.path / "val", json = root.path / "probe.json";
  fs::path model = root.path / "model.safetensors";
  torch::Tensor known_BCHW, asked_BCHW, known_labels_B, asked_labels_B;

  ClassFolders() {
    torch::manual_seed(3);
    std::tie(known_BCHW, known_labels_B) = write(train, 12);
    std::tie(asked_BCHW, asked_labels_B) = write(val, 10);
  }

  static std::pair<torch::Tensor, torch::Tensor> write(const fs::path& folder, int64_t images) {
    std::vector<torch::Tensor> views;
    std::vector<int64_t> labels;
    for (const char* name : {"dark", "light"}) {
      fs::create_directories(folder / name);
      const int64_t label = name[0] == 'l' ? 1 : 0;
      for (int64_t i = 0; i < images; ++i) {
        const auto pixels_HWC = torch::randint(label == 1 ? 6 : 0, 256, {32, 32, 3}, torch::kUInt8);
        write_png(folder / name / fmt::format("{:02}.png", i), pixels_HWC);
        views.push_back(to_float(pixels_HWC));
        labels.push_back(label);
      }
    }
    return {torch::stack(views), torch::tensor(labels)};
  }

  Ended probe(std::vector<std::string> words) const {
    words.insert(words.begin(), {"probe", "--data", train.string(), "--val-data", val.string(), "--json", json.string(),
                                 "--device", "cpu", "--threads", "1"});
    return start(words);
  }

  Json result() const { return Json::parse(text_of(json)); }

  /// Mean of linear_probe() over seeds, and knn_top1(), from a function of images.
  template <class Features>
  std::pair<double, double> expected(const Features& features, uint64_t seed, uint64_t seeds) const {
    const torch::NoGradGuard no_grad;
    const LabelledFeatures known{features(known_BCHW), known_labels_B}, asked{features(asked_BCHW), asked_labels_B};
    double linear = 0;
    for (uint64_t i = 0; i < seeds; ++i) linear += linear_probe(known, asked, 2, {.seed = seed + i}).top1;
    return {linear / static_cast<double>(seeds), knn_top1(known, asked, 2)};
  }
};

TEST_CASE("probe: accuracies of a pre-trained file are the library's, of the layer and pooling asked for") {
  ClassFolders folder;
  write_small_pretrained(folder.model);
  LoadedBackbone backbone = load_backbone(folder.model);
  const auto features = [&](int64_t layer, FeaturePooling pooling) {
    return [&backbone, layer, pooling](const torch::Tensor& images_BCHW) {
      return pool(backbone.model->layers(normalise(images_BCHW, kImagenetMean, kImagenetStd), {layer}).front(),
                  pooling);
    };
  };
  const auto ended = folder.probe({"--weights", folder.model.string(), "--seed", "5", "--seeds", "2"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.err.empty());
  const auto last = folder.expected(features(2, FeaturePooling::kMean), 5, 2);
  const Json result = folder.result();
  CHECK(result["linear_top1"].get<double>() == doctest::Approx(last.first));
  CHECK(result["knn_top1"].get<double>() == doctest::Approx(last.second));
  CHECK(result["linear_top1_spread"].is_number());
  CHECK(result["knn_top1_spread"].is_null());
  CHECK(result["seeds"] == 2);
  CHECK(result["layer"] == 2);
  CHECK(result["pooling"] == "mean");
  CHECK(result["images"] == 24);
  CHECK(result["val_images"] == 20);
  CHECK(result["classes"] == 2);
  CHECK(result["source"] == folder.model.string());
  CHECK(ended.out.find(fmt::format("linear {:.2f}% +- ", last.first)) != std::string::npos);
  CHECK(ended.out.find(fmt::format("kNN {:.2f}%", last.second)) != std::string::npos);

  REQUIRE(folder.probe({"--weights", folder.model.string(), "--layer", "1", "--pooling", "both", "--quiet"}).code == 0);
  const auto first = folder.expected(features(1, FeaturePooling::kBoth), 0, 1);
  const Json other = folder.result();
  CHECK(other["linear_top1"].get<double>() == doctest::Approx(first.first));
  CHECK(other["linear_top1_spread"].is_null());
  CHECK(other["knn_top1_spread"].is_null());
  CHECK(other["layer"] == 1);
}

TEST_CASE("probe: a tokenizer's encoder sees images as it was trained on them") {
  ClassFolders folder;
  write_small_tokenizer(folder.model);
  LoadedBackbone backbone = load_backbone(folder.model);
  REQUIRE(folder.probe({"--weights", folder.model.string(), "--quiet"}).code == 0);
  const auto expected = folder.expected(
      [&](const torch::Tensor& images_BCHW) {
        return pool(backbone.model->tokens(images_BCHW * 2 - 1), FeaturePooling::kMean);
      },
      0, 1);
  CHECK(folder.result()["linear_top1"].get<double>() == doctest::Approx(expected.first));
  CHECK(folder.result()["knn_top1"].get<double>() == doctest::Approx(expected.second));
}

TEST_CASE("probe: random weights follow from the seed, and each seed has its own") {
  ClassFolders folder;
  const auto probe = [&](const char* seed, const char* seeds) {
    const auto ended = folder.probe({"--random-init",
                                     "--model",
                                     "tiny",
                                     "--width",
                                     "16",
                                     "--depth",
                                     "2",
                                     "--heads",
                                     "2",
                                     "--image-size",
                                     "32",
                                     "--patch-size",
                                     "8",
                                     "--seed",
                                     seed,
                                     "--seeds",
                                     seeds,
                                     "--batch-size",
                                     "5",
                                     "--quiet"});
    CAPTURE(ended.err);
    REQUIRE(ended.code == 0);
    CHECK(ended.out.empty());
    return folder.result();
  };
  const Json three = probe("0", "3");
  CHECK(three == probe("0", "3"));
  double knn = 0, least = 100, most = 0;
  for (const char* seed : {"0", "1", "2"}) {
    const double one = probe(seed, "1")["knn_top1"];
    knn += one / 3;
    least = std::min(least, one);
    most = std::max(most, one);
  }
  CHECK(three["knn_top1"].get<double>() == doctest::Approx(knn));
  CHECK(three["knn_top1_spread"].get<double>() > 0);
  CHECK(three["source"] == "random weights");
  CHECK(most > least);
}

TEST_CASE("probe: a teacher's features are the mean of its map") {
  ClassFolders folder;
  const auto ended =
      folder.probe({"--teacher-features", "--teacher", "hog", "--image-size", "32", "--patch-size", "8", "--quiet"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  const auto teacher = make_teacher({.kind = "hog", .patch_size = 8}, {4, 4}, {});
  const auto expected =
      folder.expected([&](const torch::Tensor& images_BCHW) { return teacher->target(images_BCHW).mean(1); }, 0, 1);
  CHECK(folder.result()["linear_top1"].get<double>() == doctest::Approx(expected.first));
  CHECK(folder.result()["knn_top1"].get<double>() == doctest::Approx(expected.second));
  CHECK(folder.result()["source"] == "teacher hog");
  CHECK(folder.result()["layer"].is_null());
}

TEST_CASE("probe: several layers and poolings in one pass; what counts is chosen without the validation images") {
  ClassFolders folder;
  write_small_pretrained(folder.model);
  LoadedBackbone backbone = load_backbone(folder.model);
  const auto ended =
      folder.probe({"--weights", folder.model.string(), "--layer", "all", "--pooling", "cls", "--pooling", "mean",
                    "--neighbours", "5", "--neighbours", "1", "--temperature", "0.1"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  const Json result = folder.result();
  REQUIRE(result["linear_rows"].size() == 4);
  REQUIRE(result["knn_rows"].size() == 8);
  const torch::NoGradGuard no_grad;
  double best = -1;
  size_t i = 0;
  for (const int64_t layer : {1, 2}) {
    for (const auto pooling : {FeaturePooling::kCls, FeaturePooling::kMean}) {
      const auto features = [&](const torch::Tensor& images_BCHW) {
        return pool(backbone.model->layers(normalise(images_BCHW, kImagenetMean, kImagenetStd), {layer}).front(),
                    pooling);
      };
      const LabelledFeatures known{features(folder.known_BCHW), folder.known_labels_B},
          asked{features(folder.asked_BCHW), folder.asked_labels_B};
      const auto alone = linear_probe(known, asked, 2);
      const Json& row = result["linear_rows"][i];
      CHECK(row["layer"] == layer);
      CHECK(row["pooling"] == (pooling == FeaturePooling::kCls ? "cls" : "mean"));
      CHECK(row["top1"].get<double>() == doctest::Approx(alone.top1));
      CHECK(row["held_out_top1"].get<double>() == doctest::Approx(alone.held_out_top1));
      if (alone.held_out_top1 > best) {
        best = alone.held_out_top1;
        CHECK(result["layer"].is_number());
      }
      CHECK(result["knn_rows"][2 * i]["top1"].get<double>() ==
            doctest::Approx(knn_top1(known, asked, 2, {.neighbours = {5}, .temperatures = {0.1}})));
      ++i;
    }
  }
  for (const Json& row : result["linear_rows"]) {
    if (row["held_out_top1"].get<double>() < best) continue;
    CHECK(result["linear_top1"] == row["top1"]);
    CHECK(result["layer"] == row["layer"]);
    CHECK(result["pooling"] == row["pooling"]);
    break;
  }
  CHECK(result["knn_top1"] == result["knn_rows"][0]["top1"]);
  CHECK(ended.out.find("chosen") != std::string::npos);
}

TEST_CASE("probe: sgd and lars sweep learning rates; the attentive probe reports its own") {
  ClassFolders folder;
  write_small_pretrained(folder.model);
  const auto ended = folder.probe({"--weights",
                                   folder.model.string(),
                                   "--linear",
                                   "lars",
                                   "--feature-norm",
                                   "batch",
                                   "--lr",
                                   "1",
                                   "--lr",
                                   "10",
                                   "--epochs",
                                   "5",
                                   "--warmup-epochs",
                                   "1",
                                   "--probe-batch",
                                   "8",
                                   "--attentive",
                                   "--attentive-epochs",
                                   "2",
                                   "--attentive-lr",
                                   "1e-3",
                                   "--layer",
                                   "1",
                                   "--layer",
                                   "2",
                                   "--quiet"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.out.empty());
  const Json result = folder.result();
  CHECK(result["linear"] == "lars");
  REQUIRE(result["linear_rows"].size() == 4);
  CHECK(result["linear_rows"][1]["lr"] == 10.0);
  REQUIRE(result["attentive_rows"].size() == 2);
  CHECK(result["attentive_rows"][1]["layer"] == 2);
  CHECK(result["attentive_top1"].is_number());
  REQUIRE(folder.probe({"--weights", folder.model.string(), "--linear", "sgd", "--epochs", "2", "--quiet"}).code == 0);
  CHECK(folder.result()["linear_rows"].size() == 6);
  CHECK(!folder.result().contains("attentive_top1"));
}

TEST_CASE("probe: a cache spares the pass over the images, and serves the same network and images alone") {
  ClassFolders folder;
  write_small_pretrained(folder.model);
  const std::string cache = (folder.root.path / "features.safetensors").string(), model = folder.model.string();
  const std::vector<std::string> words{"--weights", model,       "--cache", cache,       "--quiet", "--layer",
                                       "all",       "--pooling", "mean",    "--pooling", "cls"};
  REQUIRE(folder.probe(words).code == 0);
  const Json first = folder.result();
  auto without = words;
  without.erase(without.begin() + 2, without.begin() + 4);
  REQUIRE(folder.probe(without).code == 0);
  CHECK(folder.result() == first);

  const auto refused = [&](const std::vector<std::string>& asked, const char* message) {
    const auto ended = folder.probe(asked);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused({"--weights", model, "--cache", cache, "--quiet", "--pooling", "both"}, "layer2.both");
  refused({"--weights", model, "--cache", cache, "--quiet", "--final-norm"}, "name another --cache");
  refused({"--weights", model, "--cache", model, "--quiet"}, "apart from what is read");
  refused({"--random-init", "--cache", cache, "--quiet"}, "--cache with --weights");

  write_small_tokenizer(folder.model);
  refused(words, "expected features made for");
  write_small_pretrained(folder.model);
  REQUIRE(folder.probe(words).code == 0);

  // Bytes of the same number, but no image: whoever looks at it fails.
  const auto image = folder.val / "dark" / "00.png";
  const std::string damaged(fs::file_size(image), 'x');
  std::ofstream(image, std::ios::binary) << damaged;
  REQUIRE(folder.probe(words).code == 0);
  CHECK(folder.result() == first);
  refused({"--weights", model, "--cache", cache, "--quiet", "--attentive"}, "00.png");

  write_png(image, torch::zeros({32, 32, 3}, torch::kUInt8));
  refused(words, "expected features made for");
  fs::remove(image);
  refused(words, "expected features made for");
  std::ofstream(cache) << "no features";
  refused(words, "expected a header");
}

TEST_CASE("probe: what cannot work is refused before the work, with what to try") {
  ClassFolders folder;
  const auto foreign = folder.root.path / "foreign.safetensors", loose = folder.root.path / "loose",
             empty = folder.root.path / "empty", other = folder.root.path / "other";
  write_small_pretrained(folder.model);
  write_safetensors(foreign, {{"x", torch::ones({2})}});
  for (const auto& path : {empty, other}) fs::create_directories(path);
  fs::copy(folder.train / "dark", loose);
  fs::create_directories(folder.root.path / "one");
  fs::copy(folder.train / "dark", folder.root.path / "one" / "dark", fs::copy_options::recursive);
  fs::copy(folder.train / "dark", other / "grey", fs::copy_options::recursive);
  fs::copy(folder.train / "light", other / "light", fs::copy_options::recursive);
  const std::string model = folder.model.string(), train = folder.train.string(), val = folder.val.string();
  const auto refused = [](std::vector<std::string> words, const std::string& message) {
    words.insert(words.begin(), {"probe", "--quiet"});
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused({"--data", train, "--val-data", val}, "--teacher-features, got none");
  refused({"--data", train, "--val-data", val, "--weights", model, "--random-init"}, "got several");
  refused({"--weights", model, "--val-data", val}, "set --data PATH");
  refused({"--weights", model, "--data", train}, "set --val-data PATH");
  refused({"--weights", model, "--data", empty.string(), "--val-data", val}, "got none; give another path");
  refused({"--weights", model, "--data", loose.string(), "--val-data", val}, "got one without class");
  refused({"--weights", model, "--data", (folder.root.path / "one").string(), "--val-data", val}, "two classes");
  refused({"--weights", model, "--data", other.string(), "--val-data", val}, "'dark' is in one only");
  refused({"--weights", model, "--data", train, "--val-data", val, "--layer", "3"}, "a layer between 1 and 2");
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--weights", model, "--data", train, "--val-data", val});
    return more;
  };
  refused(with({"--lr", "1"}), "--linear sgd or lars");
  refused(with({"--linear", "sgd", "--lr", "0"}), "lr: expected a number above 0");
  refused(with({"--linear", "sgd", "--lr", "much"}), "lr: expected a number, got 'much'");
  refused(with({"--linear", "sgd", "--epochs", "3", "--warmup-epochs", "3"}), "fewer --warmup-epochs");
  refused(with({"--neighbours", "0"}), "neighbours: expected a whole number of at least 1");
  refused(with({"--temperature", "-1"}), "temperature: expected a number above 0");
  refused(with({"--pooling", "tokens"}), "one of mean, cls, both, got 'tokens'");
  refused(with({"--layer", "x"}), "a whole number, got 'x'");
  refused({"--weights", model, "--data", train, "--val-data", val, "--seeds", "0"},
          "--seeds: expected a whole number of at least 1");
  refused({"--weights", model, "--data", train, "--val-data", val, "--json", empty.string()}, "got a folder");
  refused({"--weights", foreign.string(), "--data", train, "--val-data", val}, "got tensors of an unknown model");
  refused({"--teacher-features", "--data", train, "--val-data", val}, "--teacher-weights");
  std::ofstream(folder.val / "dark" / "00.png") << "damaged";
  refused({"--weights", model, "--data", train, "--val-data", val}, "00.png");
  CHECK(!fs::exists(folder.json));
}

}  // namespace
}  // namespace beit
