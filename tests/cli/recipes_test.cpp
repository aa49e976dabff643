#include "cli/recipes.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/error.h"
#include "cli/args.h"
#include "cli/command.h"
#include "tests/cli/started.h"
#include "tests/support.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// Keys and values of a recipe's section.
std::map<std::string, std::string> section(const std::string& recipe, const std::string& name) {
  std::map<std::string, std::string> values;
  for (const Setting& setting : read_config(recipe).settings) {
    if (setting.section == name) values[setting.key] = setting.words.at(0);
  }
  return values;
}

/// What a user would notice.
struct Published {
  const char *recipe, *section;
  std::map<std::string, std::string> values;
};
const std::vector<Published> kPublished{
    {"vqkd-clip",
     "vqkd",
     {{"teacher", "clip"}, {"batch-size", "512"}, {"epochs", "100"}, {"lr", "5e-5"}, {"decoder-depth", "3"}}},
    {"vqkd-dino",
     "vqkd",
     {{"teacher", "dino"}, {"batch-size", "512"}, {"epochs", "100"}, {"lr", "5e-5"}, {"decoder-depth", "1"}}},
    {"base-300",
     "pretrain",
     {{"epochs", "300"}, {"batch-size", "2048"}, {"lr", "1.5e-3"}, {"beta2", "0.98"}, {"drop-path", "0"}}},
    {"base-1600",
     "pretrain",
     {{"epochs", "1600"}, {"batch-size", "2048"}, {"lr", "1.5e-3"}, {"beta2", "0.999"}, {"drop-path", "0.1"}}},
    {"large-300", "pretrain", {{"model", "large"}, {"epochs", "300"}, {"early-layers", "21"}, {"layer-scale", "1e-5"}}},
    {"large-1600",
     "pretrain",
     {{"model", "large"}, {"epochs", "1600"}, {"early-layers", "21"}, {"layer-scale", "1e-5"}}},
    {"base-300",
     "finetune",
     {{"lr", "5e-4"}, {"epochs", "100"}, {"warmup-epochs", "20"}, {"layer-decay", "0.65"}, {"drop-path", "0.1"}}},
    {"base-1600",
     "finetune",
     {{"lr", "5e-4"}, {"epochs", "100"}, {"warmup-epochs", "20"}, {"layer-decay", "0.6"}, {"drop-path", "0.2"}}},
    {"large-300",
     "finetune",
     {{"lr", "5e-4"}, {"epochs", "50"}, {"warmup-epochs", "5"}, {"layer-decay", "0.8"}, {"drop-path", "0.2"}}},
    {"large-1600",
     "finetune",
     {{"lr", "2e-4"}, {"epochs", "50"}, {"warmup-epochs", "5"}, {"layer-decay", "0.8"}, {"drop-path", "0.2"}}},
    {"base-21k",
     "finetune",
     {{"batch-size", "4096"},
      {"lr", "6e-4"},
      {"epochs", "90"},
      {"layer-decay", "0.75"},
      {"drop-path", "0.1"},
      {"mixup", "0.8"}}},
    {"large-21k",
     "finetune",
     {{"batch-size", "4096"},
      {"lr", "6e-4"},
      {"epochs", "90"},
      {"layer-decay", "0.75"},
      {"drop-path", "0.2"},
      {"cutmix", "1.0"}}},
    {"base-21k-1k",
     "finetune",
     {{"batch-size", "1024"},
      {"lr", "5e-5"},
      {"epochs", "30"},
      {"layer-decay", "0.75"},
      {"drop-path", "0.1"},
      {"mixup", "0"}}},
    {"large-21k-1k",
     "finetune",
     {{"batch-size", "1024"},
      {"lr", "7e-5"},
      {"epochs", "20"},
      {"layer-decay", "0.8"},
      {"drop-path", "0.25"},
      {"cutmix", "0"}}},
    {"base-1600",
     "segment",
     {{"lr", "5e-5"},
      {"layer-decay", "0.75"},
      {"drop-path", "0.15"},
      {"steps", "160000"},
      {"batch-size", "16"},
      {"channels", "768"}}},
    {"large-1600",
     "segment",
     {{"lr", "4e-5"},
      {"layer-decay", "0.9"},
      {"drop-path", "0.2"},
      {"steps", "160000"},
      {"batch-size", "16"},
      {"channels", "1024"}}},
    {"base-21k-1k", "segment", {{"lr", "5e-5"}, {"layer-decay", "0.85"}, {"drop-path", "0.15"}}},
    {"large-21k-1k", "segment", {{"lr", "3e-5"}, {"layer-decay", "0.9"}, {"drop-path", "0.2"}}},
};

TEST_CASE("recipes: published ones say what was published") {
  for (const Published& one : kPublished) {
    CAPTURE(one.recipe);
    CAPTURE(one.section);
    const auto values = section(one.recipe, one.section);
    for (const auto& [key, value] : one.values) {
      CAPTURE(key);
      REQUIRE(values.contains(key));
      CHECK(values.at(key) == value);
    }
  }
}

TEST_CASE("recipes: each is understood by the commands whose sections it has, and sets all that it names") {
  REQUIRE(shipped_recipes().size() >= 11);
  for (const ShippedFile& recipe : shipped_recipes()) {
    CAPTURE(recipe.name);
    CHECK(recipe.text.starts_with("# "));
    int64_t sections = 0;
    for (const Command& command : all_commands()) {
      const auto values = section(recipe.name, command.name);
      if (values.empty()) continue;
      ++sections;
      CAPTURE(command.name);
      REQUIRE(parse(command, all_commands(), {"--config", recipe.name}) == Request::kRun);
      for (const auto& [key, value] : values) {
        const auto option = std::ranges::find(command.options, key, &Option::name);
        REQUIRE(option != command.options.end());
        const auto set_to = shown(*option);
        double number = 0, expected = 0;
        const bool is_number = std::sscanf(value.c_str(), "%lf", &expected) == 1;
        if (is_number && std::sscanf(set_to.c_str(), "%lf", &number) == 1) CHECK(number == expected);
      }
    }
    CHECK(sections > 0);
  }
}

TEST_CASE("recipes: a printed one is a file that says the same") {
  const TemporaryFolder folder;
  const auto ended = start({"recipes", "base-1600"});
  CHECK(ended.code == 0);
  CHECK(ended.out == text_of(source_folder() / "configs/base-1600.toml"));
  std::ofstream(folder.path / "mine.toml") << ended.out;
  const Config file = read_config(folder.path / "mine.toml"), recipe = read_config("base-1600");
  CHECK(!file.shipped);
  CHECK(recipe.shipped);
  REQUIRE(file.settings.size() == recipe.settings.size());
  for (size_t i = 0; i < file.settings.size(); ++i) CHECK(file.settings[i].words == recipe.settings[i].words);
}

TEST_CASE("recipes: the list has a line for each, with what it is for and what it is") {
  const auto ended = start({"recipes"});
  CHECK(ended.code == 0);
  CHECK(std::ranges::count(ended.out, '\n') == 1 + std::ssize(shipped_recipes()));
  CHECK(ended.out.find("\nbase-1600     pretrain, finetune, segment    Base, 1600 epochs on ImageNet-1k") !=
        std::string::npos);
  CHECK(ended.out.find("  # ") == std::string::npos);
}

TEST_CASE("recipes: a word with a slash or .toml is a file, and a file of a recipe's name comes before it") {
  const TemporaryFolder folder;
  const auto before = fs::current_path();
  fs::current_path(folder.path);
  fs::create_directory("base-300");
  CHECK(read_config("base-300").shipped);  // a run folder of that name is no configuration
  fs::remove("base-300");
  std::ofstream("base-300") << "seed = 7\n";
  const Config file = read_config("base-300");
  CHECK(!file.shipped);
  CHECK(file.settings.size() == 1);
  CHECK_THROWS_WITH_AS(read_config("base-1600.toml"),
                       "base-1600.toml: expected a configuration file, got none that can be read", Error);
  CHECK_THROWS_WITH_AS(read_config("./base-1600"), doctest::Contains("expected a configuration file, got none"), Error);
  fs::current_path(before);
}

TEST_CASE("recipes: a name that is none is refused with the nearest, a recipe of other commands with what it is for") {
  const auto refused = [](std::initializer_list<std::string> words, const std::string& message) {
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused({"pretrain", "--config", "base-160"},
          "got 'base-160'; the nearest recipe is 'base-1600', `beit recipes` lists");
  refused({"plan", "base-160"}, "the nearest recipe is 'base-1600'");
  refused({"recipes", "bas-300"}, "got 'bas-300'; the nearest is 'base-300'");
  refused({"plan", "base-300"}, "base-300: expected one section of");
  refused({"vqkd", "--config", "base-300"}, "vqkd: recipe 'base-300' is for pretrain, finetune, segment alone");
  refused({"pretrain", "--config", "base-300", "--quiet"}, "set --tokenizer");
}

}  // namespace
}  // namespace beit
