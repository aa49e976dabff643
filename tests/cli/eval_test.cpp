#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/cli/small_classifier.h"
#include "tests/io/files.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Names = std::vector<std::string>;

constexpr int64_t kImages = 5;  // of each class
const Names kOutputs{"gnu", "ant", "fox", "bee", "eel", "cat", "dog"};

int64_t output_of(const std::string& name) {
  return std::distance(kOutputs.begin(), std::ranges::find(kOutputs, name));
}

/// What eval should find, image by image.
struct Expected {
  double top1 = 0, top5 = 0, loss = 0;
  int64_t images = 0;
};

struct Folder {
  TemporaryFolder root;
  fs::path model = root.path / "model.safetensors", data = root.path / "data", json = root.path / "eval.json";
  Names classes{"ant", "cat", "dog", "gnu"};
  Classifier classifier = write_small_classifier(model, std::ssize(kOutputs), kOutputs);

  Folder() { write_class_folders(data, classes, kImages); }

  Ended eval(std::vector<std::string> words) const {
    words.insert(words.begin(), {"eval", "--weights", model.string(), "--data", data.string(), "--json", json.string(),
                                 "--device", "cpu", "--threads", "1", "--batch-size", "3"});
    return start(words);
  }

  Json result(const std::vector<std::string>& words) const {
    const auto ended = eval(words);
    CAPTURE(ended.err);
    REQUIRE(ended.code == 0);
    CHECK(ended.err.empty());
    return Json::parse(text_of(json));
  }

  std::string file(const std::string& name, std::string_view bytes) const {
    put_file(root.path / name, bytes);
    return (root.path / name).string();
  }

  /// From the probabilities that `of` gives of an image; its columns are the outputs `competing`.
  template <class Probabilities>
  Expected expected(const Probabilities& of, const std::vector<int64_t>& competing) {
    Expected sum;
    for (const std::string& name : classes) {
      const auto place = std::ranges::find(competing, output_of(name));
      if (place == competing.end()) continue;
      const int64_t label = std::distance(competing.begin(), place);
      for (int64_t i = 0; i < kImages; ++i) {
        const auto probabilities = of(data / name / fmt::format("{}.png", i))[0];
        const auto largest = std::get<1>(probabilities.sort(0, /*descending=*/true));
        sum.top1 += largest[0].template item<int64_t>() == label ? 1 : 0;
        sum.top5 += largest.slice(0, 0, 5).eq(label).any().template item<bool>() ? 1 : 0;
        sum.loss -= probabilities[label].log().template item<double>();
        ++sum.images;
      }
    }
    const auto images = static_cast<double>(sum.images);
    return {100 * sum.top1 / images, 100 * sum.top5 / images, sum.loss / images, sum.images};
  }
};

void check(const Json& result, const Expected& expected) {
  CHECK(result["top1"].get<double>() == doctest::Approx(expected.top1));
  if (!result["top5"].is_null()) CHECK(result["top5"].get<double>() == doctest::Approx(expected.top5));
  CHECK(result["loss"].get<double>() == doctest::Approx(expected.loss).epsilon(1e-4));
  CHECK(result["images"] == expected.images);
}

const std::vector<int64_t> kAll{0, 1, 2, 3, 4, 5, 6};

TEST_CASE("eval: figures are those of the module on the published view, classes matched by name") {
  Folder folder;
  const auto ended = folder.eval({});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.err.empty());
  const Json result = Json::parse(text_of(folder.json));
  const auto expected =
      folder.expected([&](const fs::path& path) { return logits_of(folder.classifier, path).softmax(1); }, kAll);
  CHECK(expected.top5 > expected.top1);  // the case tells the figures apart
  check(result, expected);
  CHECK(result["top5"].is_number());
  CHECK(result["matched"] == "by name");
  CHECK(result["classes"] == 4);
  CHECK(result["outputs"] == 7);
  CHECK(result["left_out_images"] == 0);
  CHECK(result["image_size"] == 32);
  CHECK(ended.out.find(fmt::format("top-1 {:.2f}%, top-5 {:.2f}%, loss {:.4f}; 20 images of 4 classes", expected.top1,
                                   expected.top5, result["loss"].get<double>())) != std::string::npos);

  double right = 0, mean = 0;
  REQUIRE(result["per_class"].size() == 4);
  for (const Json& one : result["per_class"]) {
    CHECK(one["images"] == kImages);
    CHECK(kOutputs[one["output"].get<size_t>()] == one["class"]);
    right += one["top1"].get<double>() / 100 * kImages;
    mean += one["top1"].get<double>() / 4;
    CHECK(one["mistaken_for"].is_null() == (one["mistaken_images"] == 0));
    CHECK(one["mistaken_for"] != one["class"]);
  }
  CHECK(right / 20 * 100 == doctest::Approx(expected.top1));
  CHECK(mean == doctest::Approx(result["mean_class_top1"].get<double>()));
}

TEST_CASE("eval: --flip takes the mean of probabilities of an image and its mirror image") {
  Folder folder;
  const auto both = [&](const fs::path& path) {
    return (logits_of(folder.classifier, path).softmax(1) + logits_of(folder.classifier, path, true).softmax(1)) / 2;
  };
  const Json result = folder.result({"--flip", "--quiet"});
  check(result, folder.expected(both, kAll));
  CHECK(result["flip"] == true);
  CHECK(result["loss"] != folder.result({"--quiet"})["loss"]);
}

TEST_CASE("eval: with --subset its outputs alone compete, and images of other classes are left out") {
  Folder folder;
  const std::vector<int64_t> competing{1, 2, 4, 6};  // ant, fox, eel, dog
  const auto outputs_K = torch::tensor(competing);
  const auto expected = folder.expected(
      [&](const fs::path& path) { return logits_of(folder.classifier, path).index_select(1, outputs_K).softmax(1); },
      competing);
  CHECK(expected.images == 2 * kImages);
  const std::string list = folder.file("subset.txt", "dog\n2\nant\neel\n");
  const Json result = folder.result({"--subset", list, "--quiet"});
  check(result, expected);
  CHECK(result["top5"].is_null());
  CHECK(result["left_out_images"] == 2 * kImages);
  CHECK(result["competing_outputs"] == 4);
  CHECK(result["outputs"] == 7);
}

TEST_CASE("eval: names come from --class-names in any order, numbers from folders, else the sorted order is taken") {
  Folder folder;
  const Json by_name = folder.result({"--quiet"});
  folder.classifier = write_small_classifier(folder.model, 7);
  std::string lines;
  for (const std::string& name : kOutputs) lines += name + "\n";
  const Json named = folder.result({"--quiet", "--class-names", folder.file("names.txt", lines)});
  CHECK(named["top1"] == by_name["top1"]);
  CHECK(named["loss"] == by_name["loss"]);
  CHECK(named["per_class"] == by_name["per_class"]);
  const auto too_few = folder.eval({"--quiet"});
  CHECK(failed_with_one_line(too_few));
  CHECK(too_few.err.find("--class-names FILE") != std::string::npos);

  for (const std::string& name : folder.classes)
    fs::rename(folder.data / name, folder.data / std::to_string(output_of(name)));
  const Json numbered = folder.result({"--quiet"});
  CHECK(numbered["matched"] == "by number");
  CHECK(numbered["loss"] == by_name["loss"]);
  CHECK(numbered["per_class"][0]["class"] == "0");

  for (const std::string& name : folder.classes)
    fs::rename(folder.data / std::to_string(output_of(name)), folder.data / name);
  fs::remove(folder.json);
  folder.classifier = write_small_classifier(folder.model, 4);
  const auto ended = folder.eval({});
  REQUIRE(ended.code == 0);
  CHECK(ended.out.find("in sorted order, as the model tells no names") != std::string::npos);
  const Json sorted = Json::parse(text_of(folder.json));
  CHECK(sorted["per_class"][3]["class"] == "gnu");
  CHECK(sorted["per_class"][3]["output"] == 3);
}

TEST_CASE("eval: the table and the picture are written where asked for, --quiet prints nothing") {
  Folder folder;
  const auto png = (folder.root.path / "confusion.png").string();
  const auto ended = folder.eval({"--per-class", "--confusion", png});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.out.find("mistaken for") != std::string::npos);
  for (const std::string& name : folder.classes) CHECK(ended.out.find("  " + name) != std::string::npos);
  const std::string bytes = text_of(png);
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  CHECK(decode_image({data, bytes.size()}, png).size(2) == 3);
  const auto quiet = folder.eval({"--per-class", "--quiet", "--image-size", "48"});
  CHECK(quiet.code == 0);
  CHECK(quiet.out.empty());
  CHECK(Json::parse(text_of(folder.json))["image_size"] == 48);
}

TEST_CASE("eval: a damaged image is an Error, or left out and counted") {
  Folder folder;
  put_file(folder.data / "cat" / "1.png", "damaged");
  fs::remove(folder.json);
  const auto ended = folder.eval({"--quiet"});
  CHECK(failed_with_one_line(ended));
  CHECK(ended.err.find("1.png") != std::string::npos);
  CHECK(ended.err.find("--skip-damaged") != std::string::npos);
  CHECK(!fs::exists(folder.json));
  const auto skipped = folder.eval({"--quiet", "--skip-damaged"});
  CHECK(skipped.code == 0);
  CHECK(skipped.err.find("1 damaged image was left out") != std::string::npos);
  const Json result = Json::parse(text_of(folder.json));
  CHECK(result["damaged_images"] == 1);
  CHECK(result["images"] == 4 * kImages - 1);
}

TEST_CASE("eval: what cannot work is refused, with what to try") {
  Folder folder;
  const std::string model = folder.model.string(), data = folder.data.string();
  const auto refused = [](std::vector<std::string> words, const std::string& message) {
    words.insert(words.begin(), {"eval", "--quiet"});
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused({"--data", data}, "set --weights FILE or RUN");
  refused({"--weights", model}, "set --data PATH");
  refused({"--weights", model, "--data", data, "--confusion", "x.jpg"}, "--confusion FILE.png");
  refused({"--weights", model, "--data", data, "--json", model}, "apart from what is read");
  refused({"--weights", model, "--data", data, "--json", (folder.data / "ant/0.png").string()}, "apart from what");
  refused({"--weights", model, "--data", (folder.data / "ant").string()}, "got none; put them into folders");
  refused({"--weights", model, "--data", data, "--class-names", folder.file("few.txt", "a\nb\n")},
          "a name for each of the model's 7 outputs, got 2");
  refused({"--weights", model, "--data", data, "--subset", folder.file("none.txt", "bee\nfox\n")},
          "expected classes of the data, got none of its 4");
  refused({"--weights", model, "--data", data, "--subset", folder.file("other.txt", "bee\ncow\n")}, "got 'cow'");
  fs::rename(folder.data / "cat", folder.data / "cats");
  refused({"--weights", model, "--data", data}, "got 'cats'; the nearest is 'cat'");
  fs::rename(folder.data / "cats", folder.data / "cat");
  auto tensors = state_dict(*folder.classifier);
  tensors["head.bias"] = torch::full({7}, std::nan(""));
  write_safetensors(folder.model, tensors, {class_metadata(kOutputs)});
  const auto ended = folder.eval({"--quiet"});
  CHECK(ended.code == 1);
  CHECK(ended.err.find("expected finite scores") != std::string::npos);
}

}  // namespace
}  // namespace beit
