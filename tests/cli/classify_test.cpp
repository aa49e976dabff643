#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/cli/small_classifier.h"
#include "tests/io/files.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Names = std::vector<std::string>;

const Names kOutputs{"gnu", "ant, \"red\"", "fox"};

struct Folder {
  TemporaryFolder root;
  fs::path model = root.path / "model.safetensors", data = root.path / "data";
  Classifier classifier = write_small_classifier(model, std::ssize(kOutputs), kOutputs);
  fs::path first = data / "a,b.png", second = data / "c\"d\".png";

  Folder() {
    write_class_folders(root.path, {"data"}, 2);
    fs::rename(data / "0.png", first);
    fs::rename(data / "1.png", second);
  }

  Ended classify(std::vector<std::string> words) const {
    words.insert(words.begin(), {"classify", "--weights", model.string(), "--data", data.string(), "--device", "cpu",
                                 "--batch-size", "1"});
    return start(words);
  }
};

TEST_CASE("classify: probabilities are the module's, most likely first; JSON and nothing else on stdout") {
  Folder folder;
  const auto ended = folder.classify({"--format", "json"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.err.empty());
  const Json images = Json::parse(ended.out);
  REQUIRE(images.size() == 2);
  const std::vector<fs::path> paths{folder.first, folder.second};
  for (size_t i = 0; i < 2; ++i) {
    CHECK(images[i]["path"] == paths[i].string());
    REQUIRE(images[i]["classes"].size() == 3);  // no more than the model has
    const auto probabilities = logits_of(folder.classifier, paths[i]).softmax(1)[0];
    double before = 1, sum = 0;
    for (const Json& one : images[i]["classes"]) {
      const auto output = one["output"].get<int64_t>();
      const double probability = one["probability"];
      CHECK(one["class"] == kOutputs[static_cast<size_t>(output)]);
      CHECK(probability == doctest::Approx(probabilities[output].item<double>()));
      CHECK(probability <= before);
      before = probability;
      sum += probability;
    }
    CHECK(sum == doctest::Approx(1));
  }
  const Json flipped = Json::parse(folder.classify({"--format", "json", "--flip", "--top", "1"}).out);
  REQUIRE(flipped[0]["classes"].size() == 1);
  const auto both = (logits_of(folder.classifier, folder.first).softmax(1) +
                     logits_of(folder.classifier, folder.first, true).softmax(1)) /
                    2;
  CHECK(flipped[0]["classes"][0]["probability"].get<double>() == doctest::Approx(both.max().item<double>()));
}

TEST_CASE("classify: CSV has a line a guess, with commas and quotes quoted") {
  Folder folder;
  const auto output = folder.root.path / "out.csv";
  const auto ended = folder.classify({"--format", "csv", "--top", "3", "--output", output.string()});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.out.find("2 images in ") != std::string::npos);
  std::istringstream lines(text_of(output));
  std::string line;
  std::getline(lines, line);
  CHECK(line == "path,rank,output,class,probability");
  const auto root = folder.data.string();
  int64_t count = 0, quoted = 0;
  while (std::getline(lines, line)) {
    const std::string path = count < 3 ? "\"" + root + "/a,b.png\"" : "\"" + root + "/c\"\"d\"\".png\"";
    CHECK(line.starts_with(fmt::format("{},{},", path, count % 3 + 1)));
    if (line.find(",1,\"ant, \"\"red\"\"\",") != std::string::npos) ++quoted;
    ++count;
  }
  CHECK(count == 6);
  CHECK(quoted == 2);
}

TEST_CASE("classify: the table names each image and its classes; without names, outputs have numbers") {
  Folder folder;
  const auto ended = folder.classify({"--top", "2"});
  REQUIRE(ended.code == 0);
  CHECK(ended.out.starts_with(folder.first.string() + "\n  "));
  CHECK(std::ranges::count(ended.out, '\n') == 6);
  CHECK(std::ranges::count(ended.out, '%') == 4);
  write_small_classifier(folder.model, 3);
  const Json numbered = Json::parse(folder.classify({"--format", "json", "--top", "1"}).out);
  const Json& guess = numbered[0]["classes"][0];
  CHECK(guess["class"] == std::to_string(guess["output"].get<int64_t>()));
  put_file(folder.root.path / "names.txt", "x\ny\nz\n");
  const auto named = folder.classify({"--class-names", (folder.root.path / "names.txt").string(), "--top", "3"});
  CHECK(named.out.find("%  y\n") != std::string::npos);
}

TEST_CASE("classify: damage and bad options are one line, and leave an output as it was") {
  Folder folder;
  const auto output = folder.root.path / "out.json";
  put_file(output, "before");
  put_file(folder.second, "damaged");
  const auto ended = folder.classify({"--output", output.string(), "--format", "json", "--quiet"});
  CHECK(failed_with_one_line(ended));
  CHECK(ended.err.find("--skip-damaged") != std::string::npos);
  CHECK(text_of(output) == "before");
  CHECK(count_files(folder.root.path) == 3);
  const auto skipped = folder.classify({"--output", output.string(), "--format", "json", "--skip-damaged"});
  CHECK(skipped.code == 0);
  CHECK(Json::parse(text_of(output)).size() == 1);
  CHECK(failed_with_one_line(folder.classify({"--top", "0"})));
  CHECK(failed_with_one_line(folder.classify({"--format", "yaml"})));
  CHECK(failed_with_one_line(folder.classify({"--output", folder.first.string(), "--quiet"})));
  CHECK(failed_with_one_line(start({"classify", "--data", folder.data.string()})));
  put_file(folder.first, "damaged");
  CHECK(folder.classify({"--skip-damaged"}).err.find("2 damaged ones") != std::string::npos);
}

}  // namespace
}  // namespace beit
