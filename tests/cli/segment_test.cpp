// `beit segment` and `beit segment test` on made-up images, with tiny networks.
#include "train/segment.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/confusion.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "tests/cli/segment_files.h"
#include "tests/cli/started.h"
#include "tests/train/small_segment.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

Ended run(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return start(words);
}

std::vector<Json> log_of(const fs::path& folder) {
  std::vector<Json> lines;
  std::ifstream file(folder / "log.jsonl");
  for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
  return lines;
}

std::vector<uint8_t> bytes_of_file(const fs::path& path) {
  const std::string text = text_of(path);
  return {text.begin(), text.end()};
}

TEST_CASE("segment: the loss falls, mIoU rises, and the run's folder says what was trained") {
  const TemporaryFolder folder;
  write_rectangles(folder.path, 24);
  const fs::path out = folder.path / "run", names = folder.path / "classes.txt";
  std::ofstream(names) << "ground\nred box\ngreen\n\n";
  const auto ended =
      run(segment_words(folder.path),
          {"--classes", names.string(), "--batch-size", "8", "--steps", "90", "--lr", "4e-3", "--warmup-steps", "5",
           "--layer-decay", "0.9", "--val-every", "2", "--log-every", "1", "--output", out.string()});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  std::vector<double> losses, mious;
  for (const auto& line : log_of(out)) {
    if (!line.contains("event")) losses.push_back(line["loss"]);
    if (line.contains("val_miou")) {
      mious.push_back(line["val_miou"]);
      CHECK(line.contains("val_macc"));
      CHECK(line.contains("val_aacc"));
    }
  }
  REQUIRE(losses.size() == 90);
  REQUIRE(mious.size() == 15);  // 3 steps are an epoch
  CAPTURE(losses);
  CAPTURE(mious);
  CHECK(losses.back() < 0.7 * losses.front());
  CHECK(mious.back() > 50);
  CHECK(mious.back() > mious.front() + 10);
  CHECK(log_of(out).front()["steps"] == 90);
  CHECK(!fs::is_empty(out / "events"));

  const auto weights = read_safetensors(out / "model.safetensors");
  CHECK(weights.metadata.at("classes") == R"(["ground","red box","green"])");
  CHECK(weights.tensors.contains("decode_head.psp_modules.3.1.bn.running_var"));
  CHECK(weights.tensors.at("backbone.fpn1.1.num_batches_tracked").item<int64_t>() == 90);
  const auto shown = start({"inspect", out.string()});
  CHECK(shown.out.find("a segmentation model") != std::string::npos);
  CHECK(shown.out.find("missing") == std::string::npos);
  CHECK(shown.out.find("unexpected") == std::string::npos);

  // The test takes sizes, stride and the label of no class from training.
  const auto json = folder.path / "figures.json";
  const Words measure{"segment",   "test",
                      "--weights", out.string(),
                      "--data",    (folder.path / "images").string(),
                      "--labels",  (folder.path / "labels").string(),
                      "--json",    json.string(),
                      "--device",  "cpu",
                      "--threads", "1"};
  REQUIRE(start(measure).code == 0);
  CHECK(Json::parse(text_of(json))["miou"].get<double>() == doctest::Approx(mious.back()));
  CHECK(run(measure, {"--ignore-label", "255"}).err.find("got 7 in") != std::string::npos);

  // What it wrote starts another, and converts to the published form and back.
  CHECK(run(segment_words(folder.path), {"--weights", out.string(), "--batch-size", "8", "--steps", "1", "--output",
                                         (folder.path / "next").string()})
            .code == 0);
  const auto there = folder.path / "there.pth", back = folder.path / "back.safetensors";
  REQUIRE(start({"convert", out.string(), there.string(), "--to", "reference"}).code == 0);
  REQUIRE(start({"convert", there.string(), back.string()}).code == 0);
  const auto again = read_safetensors(back).tensors;
  for (const auto& [name, tensor] : weights.tensors) {
    if (name.ends_with("relative_position_index")) continue;  // follows from the grid
    CAPTURE(name);
    REQUIRE(again.contains(name));
    CHECK(torch::equal(again.at(name), tensor));
  }
}

TEST_CASE("segment: a run cut off and resumed equals an unbroken one") {
  const TemporaryFolder folder;
  write_rectangles(folder.path, 9);
  const fs::path whole = folder.path / "whole", cut = folder.path / "cut";
  const Words words{"--batch-size", "4", "--steps", "7", "--lr", "1e-3", "--warmup-steps", "2"};
  const auto to = [&](const fs::path& output, Words more) {
    more.insert(more.end(), words.begin(), words.end());
    more.insert(more.end(), {"--output", output.string()});
    return run(segment_words(folder.path), more);
  };
  REQUIRE(to(whole, {}).code == 0);
  REQUIRE(to(cut, {"--checkpoint-every", "3"}).code == 0);
  for (const auto& saved : checkpoints(cut)) {
    if (saved.filename() == "step-00000007.safetensors") fs::remove(saved);
  }
  fs::remove(cut / "model.safetensors");
  const auto resumed = to(cut, {"--checkpoint-every", "3"});
  CAPTURE(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(resumed.out.find("resumed after step 6 of 7") != std::string::npos);
  const auto expected = read_safetensors(whole / "model.safetensors").tensors,
             got = read_safetensors(cut / "model.safetensors").tensors;
  REQUIRE(got.size() == expected.size());
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    CHECK(torch::equal(got.at(name), value));
  }
}

TEST_CASE("segment: two ranks train and measure as one does, though they share the validation set unevenly") {
  const TemporaryFolder folder;
  write_rectangles(folder.path, 9);
  std::vector<std::vector<Json>> logs;
  for (const char* ranks : {"1", "2"}) {
    const auto out = folder.path / ranks;
    const auto ended =
        run(segment_words(folder.path), {"--batch-size", "4", "--steps", "3", "--log-every", "1", "--lr", "1e-3",
                                         "--warmup-steps", "1", "--ranks", ranks, "--output", out.string()});
    CAPTURE(ended.err);
    REQUIRE(ended.code == 0);
    logs.push_back(log_of(out));
  }
  int compared = 0;
  for (const Json& line : logs[0]) {
    if (line.contains("event") && line["event"] != "epoch") continue;
    const auto same = std::ranges::find_if(logs[1], [&](const Json& other) {
      return other["step"] == line["step"] && other.value("event", "") == line.value("event", "");
    });
    REQUIRE(same != logs[1].end());
    for (const char* key : {"loss", "main_loss", "auxiliary_loss", "grad_norm", "val_miou", "val_macc", "val_aacc"}) {
      if (!line.contains(key)) continue;
      CAPTURE(key);
      CHECK((*same)[key].get<double>() == doctest::Approx(line[key].get<double>()).epsilon(2e-3));
      ++compared;
    }
  }
  CHECK(compared == 3 * 4 + 2 * 3);
}

TEST_CASE("segment: without --stride windows stand two thirds of their side apart, also for what reads the weights") {
  const TemporaryFolder folder;
  write_rectangles(folder.path, 8);
  const fs::path out = folder.path / "run";
  Words words = segment_words(folder.path);
  const auto stride = std::ranges::find(words, "--stride");
  REQUIRE(stride != words.end());
  words.erase(stride, stride + 2);
  const auto ended = run(words, {"--batch-size", "4", "--steps", "1", "--output", out.string()});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(contains(text_of(out / "config.toml"), "stride = 21\n"));
  const auto tested = start({"segment", "test", "--weights", out.string(), "--data", (folder.path / "images").string(),
                             "--labels", (folder.path / "labels").string(), "--device", "cpu"});
  CAPTURE(tested.err);
  CHECK(tested.code == 0);
  CHECK(contains(tested.out, "--stride 21"));
}

TEST_CASE("segment: what cannot be trained on is said before or as soon as it is met, with what to try") {
  const TemporaryFolder folder;
  write_rectangles(folder.path, 8);
  const Words out{"--batch-size", "4", "--steps", "4", "--output", (folder.path / "run").string()};
  const auto with_out = [&](Words words) {
    words.insert(words.end(), out.begin(), out.end());
    const auto ended = run(segment_words(folder.path), words);
    CHECK(ended.code == 1);
    return ended.err;
  };
  CHECK(contains(with_out({"--accumulate", "2"}), "unknown flag"));
  CHECK(contains(with_out({"--classes", "256"}), "classes"));
  CHECK(contains(with_out({"--classes", "nowhere.txt"}), "nowhere.txt"));
  CHECK(contains(with_out({"--min-scale", "3"}), "--max-scale"));
  CHECK(contains(with_out({"--scale", "zero"}), "scale"));
  CHECK(contains(with_out({"--stride", "33"}), "at most the 32 pixels of a window"));
  const std::string images = (folder.path / "images").string(), town = (folder.path / "labels" / "town").string();
  CHECK(contains(run(segment_words(folder.path, images), out).err, "got colours of 8 bits"));
  CHECK(contains(run(segment_words(folder.path, "", town), out).err, "expected its label map"));
  CHECK(contains(with_out({"--labels", town}), "give --labels as often as --data"));
  const auto outside = with_out({"--ignore-label", "255"});
  CHECK(contains(outside, "got 7 in "));
  CHECK(contains(outside, "--ignore-label 7"));
  fs::remove(folder.path / "labels" / "land" / "1.png");
  const auto missing = with_out({});
  CHECK(contains(missing, (folder.path / "images" / "land" / "1.png").string()));
  CHECK(contains(missing, (folder.path / "labels" / "land" / "1.png").string()));
  CHECK(!fs::exists(folder.path / "run" / "model.safetensors"));
}

/// A set and a network that knows it badly.
struct Tested {
  TemporaryFolder folder;
  fs::path weights = folder.path / "model.safetensors", images = folder.path / "images",
           labels = folder.path / "labels", output = folder.path / "out" / "maps",
           overlay = folder.path / "out" / "seen", json = folder.path / "figures.json";
  Segmenter model = nullptr;

  Tested() {
    write_rectangles(folder.path, 5);
    model = write_small_segmenter(weights);
  }

  Ended test(const Words& more) const {
    return run({"segment", "test", "--weights", weights.string(), "--data", images.string(), "--device", "cpu",
                "--threads", "1", "--long-side", "80", "--short-side", "44", "--stride", "20"},
               more);
  }
};

TEST_CASE("segment test: figures, label maps and pictures are those of the network, computed directly") {
  Tested set;
  const Words all{"--labels",
                  set.labels.string(),
                  "--ignore-label",
                  "7",
                  "--output",
                  set.output.string(),
                  "--overlay",
                  set.overlay.string(),
                  "--json",
                  set.json.string(),
                  "--flip",
                  "--scale",
                  "1",
                  "--scale",
                  "0.75"};
  const auto ended = set.test(all);
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);

  const std::vector<fs::path> sources{set.images}, folders{set.labels};
  const Dataset images = Dataset::open(sources);
  const LabelMaps labels(images, sources, folders, {.classes = kSmallSegments, .ignore_label = kVoid});
  const WindowOptions windows{.long_side = 80, .short_side = 44, .stride = 20, .flip = true, .scales = {"1", "0.75"}};
  Confusion confusion(kSmallSegments);
  int64_t compared = 0;
  segment_images(set.model, images, &labels, {windows, 1}, 0, 1, [&](const SegmentedImage& image) {
    confusion.add(image.predicted_HW, image.labels_HW);
    const auto name = fs::relative(images.path(image.index), set.images);
    CAPTURE(name.string());
    CHECK(torch::equal(decode_label_map(bytes_of_file(set.output / name), "map"), image.predicted_HW));
    const auto seen = decode_image(bytes_of_file(set.overlay / name), "picture");
    CHECK(torch::equal(seen, label_overlay(image.pixels_HWC, image.predicted_HW)));
    ++compared;
  });
  CHECK(compared == 5);
  const Json figures = Json::parse(text_of(set.json));
  CHECK(figures["images"] == 5);
  CHECK(figures["miou"].get<double>() == doctest::Approx(confusion.mean_iou()));
  CHECK(figures["macc"].get<double>() == doctest::Approx(confusion.mean_accuracy()));
  CHECK(figures["aacc"].get<double>() == doctest::Approx(confusion.accuracy()));
  REQUIRE(figures["classes"].size() == 3);
  CHECK(figures["classes"][1]["name"] == "road");
  CHECK(figures["classes"][1]["pixels"] == confusion.counts()[1].sum().item<int64_t>());
  CHECK(ended.out.find(fmt::format("mIoU {:.2f}%", confusion.mean_iou())) != std::string::npos);
  CHECK(ended.out.find("road") != std::string::npos);

  // What was written before is replaced.
  std::ofstream(set.output / "town" / "0.png") << "old";
  REQUIRE(set.test(all).code == 0);
  CHECK(text_of(set.output / "town" / "0.png").size() > 3);
}

TEST_CASE("segment test: without label maps it writes what it is asked to, and nothing over what it reads") {
  const Tested set;
  REQUIRE(set.test({"--overlay", set.overlay.string()}).code == 0);
  CHECK(fs::exists(set.overlay / "land" / "1.png"));
  CHECK(!fs::exists(set.output));

  const auto refused = [&](const Words& more, const std::string& why) {
    const auto before = text_of(set.images / "town" / "0.png");
    const auto ended = set.test(more);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line({ended.code, "", ended.err}));
    CHECK(contains(ended.err, why));
    CHECK(text_of(set.images / "town" / "0.png") == before);
  };
  refused({}, "set --labels FOLDER for figures");
  refused({"--output", set.images.string()}, "expected a folder apart from what is read");
  refused({"--output", (set.images / "town").string()}, "expected a folder apart from what is read");
  refused({"--output", set.labels.string(), "--labels", set.labels.string()}, "apart from what is read");
  refused({"--output", set.output.string(), "--overlay", set.output.string()}, "--output and --overlay apart");
  refused({"--json", set.json.string(), "--output", set.output.string()}, "set --labels FOLDER");
  refused({"--labels", set.labels.string()}, "--ignore-label 7");
  refused({"--overlay", set.overlay.string(), "--stride", "40"}, "change --stride");
  refused({"--overlay", set.overlay.string(), "--scale", "0"}, "scale");
  // A list's images lie where its maps would go.
  const auto list = set.images / "list.txt";
  std::ofstream(list) << "town/0.png\n";
  const auto ended = start({"segment", "test", "--weights", set.weights.string(), "--data", list.string(), "--output",
                            set.images.string(), "--stride", "20", "--device", "cpu"});
  CAPTURE(ended.err);
  CHECK(ended.code == 1);
  CHECK(contains(ended.err, "apart from what is read"));
}

}  // namespace
}  // namespace beit
