// `beit report` of real runs of a few steps.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/recipes.h"
#include "tests/cli/segment_files.h"
#include "tests/cli/started.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

std::string demo_images(const std::string& part) {
  return (source_folder() / ("demo/data/cifar10-small-" + part + ".tar")).string();
}

const Words kSmall{"--width", "16", "--depth",      "2",  "--heads",     "2", "--image-size", "32", "--patch-size", "8",
                   "--steps", "2",  "--batch-size", "64", "--log-every", "1", "--device",     "cpu"};

Words joined(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

void run(const Words& words) {
  const auto ended = start(words);
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
}

void run_vqkd(const fs::path& folder, const Words& more = {}) {
  const Words words{
      "vqkd",    "--data",   demo_images("train"), "--val-data", demo_images("test"), "--teacher", "pixels",
      "--codes", "16",       "--code-dim",         "4",          "--decoder-depth",   "1",         "--events-every",
      "1",       "--output", folder.string()};
  run(joined(joined(words, kSmall), more));
}

void run_pretrain(const fs::path& folder, const fs::path& tokenizer) {
  run(joined({"pretrain", "--data", demo_images("test"), "--tokenizer", tokenizer.string(), "--masked-patches", "6",
              "--min-mask-block", "2", "--output", folder.string()},
             kSmall));
}

bool has(const std::string& page, const std::string& part) { return page.find(part) != std::string::npos; }

TEST_CASE("report: a tokenizer's and a backbone's run stand side by side on one page") {
  const TemporaryFolder root;
  const fs::path coder = root.path / "coder", backbone = root.path / "backbone", page = root.path / "report.html";
  run_vqkd(coder);
  run_pretrain(backbone, coder);
  const auto ended = start({"report", coder.string(), backbone.string(), "--output", page.string(), "--images", "2",
                            "--codes", "5", "--examples", "3", "--measured", "100", "--device", "cpu"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.err.empty());
  CHECK(has(ended.out, "report.html of 2 runs"));
  const auto text = text_of(page);
  CHECK(text.size() < 10'000'000);
  CHECK(has(text, ">vqkd: loss</text>"));
  CHECK(has(text, ">pretrain: lr</text>"));
  CHECK(has(text, "Use of the codebook over time"));
  CHECK(has(text, " of 16 codes are used in "));
  CHECK(has(text, "id=\"attention-0\""));
  CHECK(has(text, "id=\"attention-1\""));
  CHECK(!has(text, "id=\"masks-0\""));
  CHECK(has(text, "id=\"masks-1\""));
  CHECK(has(text, "Of 12 masked patches"));
  CHECK(has(text, "<dt>masked-patches</dt><dd>6</dd>"));
  CHECK(has(text, "<dt>processor</dt>"));
  CHECK(!has(text, "Not shown"));
}

TEST_CASE("report: another tokenizer's codes are not taken for those that a run was trained on") {
  const TemporaryFolder root;
  const fs::path coder = root.path / "coder", backbone = root.path / "backbone", page = root.path / "report.html";
  run_vqkd(coder);
  run_pretrain(backbone, coder);
  fs::remove_all(coder);
  run_vqkd(coder, {"--seed", "1"});
  run({"report", backbone.string(), "--output", page.string(), "--measured", "100", "--device", "cpu"});
  const auto text = text_of(page);
  CHECK(has(text, "expected the tokenizer that the run was trained with, 16 codes of width 4 ("));
  CHECK(!has(text, "id=\"masks-0\""));
  CHECK(has(text, "id=\"attention-0\""));
}

TEST_CASE("report: a damaged configuration of one run takes nothing from the others") {
  const TemporaryFolder root;
  const fs::path coder = root.path / "coder", other = root.path / "other", page = root.path / "report.html";
  run_vqkd(coder);
  fs::copy(coder, other, fs::copy_options::recursive);
  std::ofstream(coder / "config.toml") << "[vqkd\n";
  run({"report", coder.string(), other.string(), "--output", page.string(), "--codes", "4", "--device", "cpu"});
  const auto text = text_of(page);
  CHECK(has(text, "configuration: " + (coder / "config.toml").string()));
  CHECK(has(text, "give images by --data"));
  CHECK(has(text, " of 16 codes are used in "));
}

TEST_CASE("report: what a run has not is said, with what to give") {
  const TemporaryFolder root;
  const fs::path folder = root.path / "run", page = root.path / "report.html";
  fs::create_directories(folder);
  std::ofstream(folder / "config.toml") << "[vqkd]\ndata = [\"/gone\"]\n";
  std::ofstream(folder / "log.jsonl") << R"({"event":"start","step":0,"steps":9,"processor":"<b>"})"
                                      << "\n{\"step\":1,\"epoch\":1,\"loss\":2.5}\n";
  const auto ended = start({"report", folder.string(), "--output", page.string(), "--device", "cpu"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  const auto text = text_of(page);
  CHECK(has(text, "<h3>Not shown</h3>"));
  CHECK(has(text, "expected the run&#39;s weights, got none"));
  CHECK(has(text, ">loss</text>"));
  CHECK(has(text, "<dd>&lt;b&gt;</dd>"));
}

TEST_CASE("report: the images of a run that are gone are asked for, and others serve") {
  const TemporaryFolder root;
  const fs::path coder = root.path / "coder", page = root.path / "report.html";
  run_vqkd(coder);
  const auto config = text_of(coder / "config.toml");
  auto gone = config;
  for (const std::string part : {"train", "test"}) {
    const auto at = gone.find(demo_images(part));
    REQUIRE(at != std::string::npos);
    gone.replace(at, demo_images(part).size(), "/gone/" + part);
  }
  std::ofstream(coder / "config.toml") << gone;
  const Words words{"report", coder.string(), "--output", page.string(), "--device", "cpu", "--codes", "4"};
  REQUIRE(start(words).code == 0);
  CHECK(has(text_of(page), "give images by --data"));
  REQUIRE(start(joined(words, {"--data", demo_images("test")})).code == 0);
  CHECK(has(text_of(page), " of 16 codes are used in "));
}

TEST_CASE("report: a segmentation's run shows labels and predictions") {
  const TemporaryFolder root;
  const fs::path out = root.path / "run", page = root.path / "report.html";
  write_rectangles(root.path, 6);
  run(joined(segment_words(root.path), {"--batch-size", "2", "--steps", "2", "--output", out.string()}));
  const auto ended =
      start({"report", out.string(), "--output", page.string(), "--images", "2", "--measured", "4", "--device", "cpu"});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  const auto text = text_of(page);
  CHECK(has(text, ": its labels</figcaption>"));
  CHECK(has(text, ": what is predicted</figcaption>"));
}

TEST_CASE("report: what cannot work is refused before the work") {
  const TemporaryFolder root;
  const auto refused = [](Words words, const std::string& message) {
    words.insert(words.begin(), "report");
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(has(ended.err, message));
  };
  const std::string page = root.path / "a.html";
  refused({"--output", page}, "say `beit report RUN --output FILE.html`");
  refused({root.path.string(), "--output", "a.svg"}, "set --output FILE.html");
  refused({root.path.string(), "--output", page}, "got none with config.toml");
  refused({root.path.string(), "--output", page, "--codes", "0"}, "--codes: expected a whole number");
  CHECK(!fs::exists(page));
}

TEST_CASE("report: a run's recipe is found by its configuration, numbers in any form") {
  std::istringstream text(
      "[vqkd]\n" + std::string(find_shipped(shipped_recipes(), "demo")
                                   ->text.substr(find_shipped(shipped_recipes(), "demo")->text.find("[vqkd]") + 7)));
  auto settings = read_settings(text, "demo");
  std::erase_if(settings, [](const Setting& one) { return one.section != "vqkd"; });
  CHECK(recipe_of(settings) == "demo");
  std::ranges::find(settings, "lr", &Setting::key)->words = {"0.00030"};
  CHECK(recipe_of(settings) == "demo");
  std::ranges::find(settings, "lr", &Setting::key)->words = {"0.0004"};
  CHECK(recipe_of(settings).empty());
  CHECK(recipe_of({}).empty());
}

}  // namespace
}  // namespace beit
