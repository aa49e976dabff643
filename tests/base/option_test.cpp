#include "base/option.h"

#include <doctest/doctest.h>

#include <functional>
#include <set>

#include "base/config.h"
#include "base/error.h"

namespace beit {
namespace {

/// One option of each type.
struct Sample {
  int64_t epochs = 3;
  double lr = 1.5e-3;
  bool fast = true;
  std::string device = "auto";
  std::vector<std::string> data;

  OptionList options() {
    return {{.name = "epochs", .value = &epochs, .help = "passes"},
            {.name = "lr", .value = &lr, .help = "rate"},
            {.name = "fast", .value = &fast, .help = "or slow"},
            {.name = "device", .value = &device, .help = "where", .choices = {"auto", "cpu"}},
            {.name = "data", .value = &data, .help = "images"}};
  }
};

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("option: words become values of the option's type") {
  Sample sample;
  const auto options = sample.options();
  set(options[0], {"12"}, "here");
  set(options[1], {"1e-4"}, "here");
  set(options[2], {"false"}, "here");
  set(options[3], {"cpu"}, "here");
  set(options[4], {"a", "b"}, "here");
  CHECK(sample.epochs == 12);
  CHECK(sample.lr == 1e-4);
  CHECK(!sample.fast);
  CHECK(sample.device == "cpu");
  CHECK(sample.data == std::vector<std::string>{"a", "b"});
}

TEST_CASE("option: words of another type, and values that are no choice, are refused with what was expected") {
  Sample sample;
  const auto options = sample.options();
  for (const char* word : {"", "x", "1.5", "3 ", "0x3", "99999999999999999999"}) {
    CHECK(error_of([&] { set(options[0], {word}, "here"); }) ==
          "here: expected a whole number, got '" + std::string(word) + "'");
  }
  for (const char* word : {"", "fast", "1,5", "nan", "inf", "1e999"}) {
    CHECK(error_of([&] { set(options[1], {word}, "here"); }) ==
          "here: expected a number, got '" + std::string(word) + "'");
  }
  int64_t count = 1;
  double share = 0.5;
  const Option at_least{.name = "count", .value = &count, .help = "", .range = {.least = 1}};
  const Option in_range{
      .name = "share", .value = &share, .help = "", .range = {.least = 0, .most = 1, .without_most = true}};
  CHECK(error_of([&] { set(at_least, {"0"}, "here"); }) == "here: expected a whole number of at least 1, got 0");
  CHECK(error_of([&] { set(in_range, {"1"}, "here"); }) == "here: expected a number in [0, 1), got 1");
  CHECK(error_of([&] { from_json({in_range}, R"({"share": -1})", "here"); }) ==
        "here: share: expected a number in [0, 1), got -1");
  CHECK(count == 1);
  CHECK(share == 0.5);
  set(in_range, {"0"}, "here");
  CHECK(share == 0);
  share = 2;
  CHECK(error_of([&] {
          check_ranges({at_least, in_range}, "here");
        }) == "here: share: expected a number in [0, 1), got 2");
  CHECK(error_of([&] { set(options[2], {"yes"}, "here"); }) == "here: expected true or false, got 'yes'");
  CHECK(error_of([&] { set(options[3], {"gpu"}, "here"); }) == "here: expected one of auto, cpu, got 'gpu'");
  CHECK(error_of([&] { set(options[0], {"1", "2"}, "here"); }) == "here: expected one value, got 2");
  CHECK(sample.epochs == 3);
  CHECK(sample.device == "auto");
}

TEST_CASE("option: JSON gives back every value, exactly") {
  Sample from{.epochs = -7, .lr = 0.1 + 0.2, .fast = false, .device = "cpu", .data = {"it's", "a \"b\" \\ c", "é"}};
  Sample to;
  from_json(to.options(), to_json(from.options()), "here");
  CHECK(to.epochs == from.epochs);
  CHECK(to.lr == from.lr);
  CHECK(to.fast == from.fast);
  CHECK(to.device == from.device);
  CHECK(to.data == from.data);
}

TEST_CASE("option: JSON with unknown keys is taken, with wrong types refused") {
  Sample sample;
  from_json(sample.options(), R"({"later": [1], "epochs": 5})", "here");
  CHECK(sample.epochs == 5);
  from_json(sample.options(), R"({"lr": 1})", "here");
  CHECK(sample.lr == 1.0);
  const auto refused = [&](const char* json) { return error_of([&] { from_json(sample.options(), json, "here"); }); };
  CHECK(refused(R"({"epochs": "5"})") == R"(here: epochs: expected a whole number, got "5")");
  CHECK(refused(R"({"epochs": 5.5})") == "here: epochs: expected a whole number, got 5.5");
  CHECK(refused(R"({"lr": true})") == "here: lr: expected a number, got true");
  CHECK(refused(R"({"fast": 1})") == "here: fast: expected true or false, got 1");
  CHECK(refused(R"({"device": "gpu"})") == "here: device: expected one of auto, cpu, got 'gpu'");
  CHECK(refused(R"({"data": "a"})") == R"(here: data: expected a list of texts, got "a")");
  CHECK(refused("[1]") == "here: expected a configuration as a JSON object, got [1]");
  CHECK(refused("{") == "here: expected a configuration as a JSON object, got {");
}

TEST_CASE("config: each option of each kind has a help text and a name of its own") {
  ModelOptions model;
  CodebookOptions codebook;
  TeacherChoice teacher;
  MimChoice mim;
  DataOptions data;
  TrainOptions train;
  RuntimeOptions runtime;
  const auto all = join({describe(model), describe(codebook), describe(teacher), describe(mim), describe(data),
                         describe(train), describe(runtime)});
  std::set<std::string> names;
  for (const Option& option : all) {
    CAPTURE(option.name);
    CHECK(names.insert(option.name).second);
    CHECK(!option.help.empty());
    CHECK(option.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos);
    CHECK(!option.name.starts_with("no-"));
  }
}

TEST_CASE("config: named sizes are the published ones, and each figure may be set alone") {
  const auto resolved = [](ModelOptions options) {
    resolve(options);
    return std::vector<int64_t>{options.width, options.depth, options.heads, options.patch_size};
  };
  using Figures = std::vector<int64_t>;
  CHECK(resolved({}) == Figures{768, 12, 12, 16});
  CHECK(resolved({.model = "tiny"}) == Figures{192, 12, 3, 16});
  CHECK(resolved({.model = "small"}) == Figures{384, 12, 6, 16});
  CHECK(resolved({.model = "24x544"}) == Figures{544, 24, 16, 16});
  CHECK(resolved({.model = "large"}) == Figures{1024, 24, 16, 16});
  CHECK(resolved({.model = "huge"}) == Figures{1280, 32, 16, 14});
  CHECK(resolved({.model = "huge", .patch_size = 16}) == Figures{1280, 32, 16, 16});
  CHECK(resolved({.model = "tiny", .width = 128, .depth = 4, .heads = 4}) == Figures{128, 4, 4, 16});
}

TEST_CASE("config: sizes that do not fit are refused with the figures") {
  const auto refused = [](ModelOptions options) { return error_of([&] { resolve(options); }); };
  CHECK(refused({.width = 100}) ==
        "model: expected heads that divide the width, got 12 heads at width 100; set --heads");
  CHECK(refused({.image_size = 225}).find("got 225 and 16 pixels") != std::string::npos);
  CHECK(refused({.depth = -1}).starts_with("model: depth: expected a whole number of at least 0, got -1"));
  CHECK(refused({.drop_path = 1.0}).starts_with("model: drop-path: expected a number in [0, 1), got 1"));
  CHECK(refused({.model = "giant"}).find("got 'giant'") != std::string::npos);
}

}  // namespace
}  // namespace beit
