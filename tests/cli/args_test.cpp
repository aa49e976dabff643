#include "cli/args.h"

#include <doctest/doctest.h>

#include <fstream>

#include "base/config.h"
#include "base/error.h"
#include "cli/run_config.h"
#include "tests/support.h"

namespace beit {
namespace {

/// Two commands that share some options.
struct Train {
  ModelOptions model;
  TrainOptions train;
  DataOptions data;
  OptionList options() { return join({describe(model), describe(train), describe(data)}); }
};
struct Show {
  std::string path;
  int64_t rows = 4;
  bool json = true;
  OptionList options() {
    return {{.name = "FILE", .value = &path, .help = "to show", .value_name = "FILE", .positional = true},
            {.name = "rows", .value = &rows, .help = "of the table"},
            {.name = "json", .value = &json, .help = "one object"}};
  }
};

struct Program {
  Train train;
  Show show;
  std::vector<Command> commands{{"train", "Train it", train.options(), {}}, {"show", "Show it", show.options(), {}}};
  TemporaryFolder folder;

  std::string config(const std::string& text) const {
    const auto path = folder.path / "a.toml";
    std::ofstream(path) << text;
    return path.string();
  }
  Request parse(size_t command, const std::vector<std::string>& words) const {
    return beit::parse(commands[command], commands, words);
  }
  Request parse_with(const std::string& toml, std::vector<std::string> words = {}) const {
    words.insert(words.end(), {"--config", config(toml)});
    return parse(0, words);
  }
  /// The error without the folder's name.
  std::string error(size_t command, const std::vector<std::string>& words) const {
    try {
      parse(command, words);
    } catch (const Error& error) {
      std::string text = error.what();
      if (const auto at = text.find(folder.path.string()); at != std::string::npos) {
        text.erase(at, folder.path.string().size() + 1);
      }
      return text;
    }
    return "";
  }
  std::string error_with(const std::string& toml) const { return error(0, {"--config", config(toml)}); }
};

TEST_CASE("args: flags set options, in either form, the last one counts") {
  Program program;
  const std::vector<std::string> words{"--lr",   "1e-4", "--epochs=7", "--data", "a",        "--output", "-run-",
                                       "--data", "b c",  "--epochs",   "8",      "--min-lr", "-0"};
  CHECK(program.parse(0, words) == Request::kRun);
  CHECK(program.train.train.lr == 1e-4);
  CHECK(program.train.train.epochs == 8);
  CHECK(program.train.train.min_lr == 0);
  CHECK(program.train.train.output == "-run-");
  CHECK(program.train.data.data == std::vector<std::string>{"a", "b c"});
  CHECK(program.train.train.batch_size == TrainOptions{}.batch_size);
}

TEST_CASE("args: switches have two flags; positional words need none") {
  Program program;
  program.parse(1, {"file.bin", "--no-json"});
  CHECK(program.show.path == "file.bin");
  CHECK(!program.show.json);
  program.parse(1, {"--json", "other.bin"});
  CHECK(program.show.path == "other.bin");
  CHECK(program.show.json);
  program.parse(1, {"--json=false"});
  CHECK(!program.show.json);
}

TEST_CASE("args: the command line wins over the section, the section over shared keys") {
  Program program;
  program.parse_with("lr = 1\nepochs = 1\nseed = 1\n[train]\nlr = 2\nepochs = 2\n", {"--lr", "3"});
  CHECK(program.train.train.lr == 3);
  CHECK(program.train.train.epochs == 2);
  CHECK(program.train.train.seed == 1);
}

TEST_CASE("args: keys of other commands, shared or in their section, are passed over") {
  Program program;
  program.parse_with("rows = 9\n[show]\njson = false\nrows = 8\n");
  CHECK(program.show.rows == 4);
  CHECK(program.show.json);
}

TEST_CASE("args: a named size sets aside width, depth and heads of a lower level, and only of a lower one") {
  Program program;
  program.parse_with("width = 128\n[train]\ndepth = 4\n", {"--model", "tiny", "--heads", "2"});
  CHECK(program.train.model.width == 0);
  CHECK(program.train.model.depth == 0);
  CHECK(program.train.model.heads == 2);
  Program other;
  other.parse_with("model = \"small\"\nwidth = 128\n");
  CHECK(other.train.model.model == "small");
  CHECK(other.train.model.width == 128);
}

TEST_CASE("args: an unknown flag is refused with the nearest, and nothing is set") {
  Program program;
  CHECK(program.error(0, {"--lr", "1", "--epoch", "3"}) == "train: unknown flag '--epoch'; the nearest is '--epochs'");
  CHECK(program.error(0, {"--batchsize=3"}) == "train: unknown flag '--batchsize=3'; the nearest is '--batch-size'");
  CHECK(program.error(0, {"--batch_size", "3"}) == "train: unknown flag '--batch_size'; the nearest is '--batch-size'");
  CHECK(program.error(0, {"-x"}).starts_with("train: unknown flag '-x'; the nearest is"));
  CHECK(program.error(1, {"--no-jsn"}) == "show: unknown flag '--no-jsn'; the nearest is '--no-json'");
  CHECK(program.error(0, {"epochs", "3"}) == "train: unexpected argument 'epochs'; see `beit train --help`");
  CHECK(program.error(1, {"a", "b"}) == "show: unexpected argument 'b'; see `beit show --help`");
  CHECK(program.train.train.lr == TrainOptions{}.lr);
}

TEST_CASE("args: values that are missing, of another type or no choice are refused with the flag") {
  Program program;
  CHECK(program.error(0, {"--lr"}).starts_with("train: --lr: "));
  CHECK(program.error(0, {"--lr", "fast"}) == "train: --lr: expected a number, got 'fast'");
  CHECK(program.error(0, {"--epochs", "1.5"}) == "train: --epochs: expected a whole number, got '1.5'");
  CHECK(program.error(0, {"--model", "giant"}) ==
        "train: --model: expected one of tiny, small, base, 24x544, large, huge, got 'giant'");
}

TEST_CASE("args: unknown keys and sections of a file are refused with the nearest and the line") {
  Program program;
  CHECK(program.error_with("seed = 1\nepoch = 3") == "a.toml:2: unknown key 'epoch'; the nearest is 'epochs'");
  CHECK(program.error_with("[train]\nrows = 1") == "a.toml:2: unknown key 'rows' in [train]; the nearest is 'model'");
  CHECK(program.error_with("[show]\n\nrow = 1") == "a.toml:3: unknown key 'row' in [show]; the nearest is 'rows'");
  CHECK(program.error_with("[trian]\nlr = 1") == "a.toml:2: unknown section [trian]; the nearest is [train]");
  CHECK(program.error_with("[train]\nlr = \"fast\"") == "a.toml:2: lr: expected a number, got 'fast'");
  CHECK(program.error_with("lr = [1, 2]") == "a.toml:1: lr: expected one value, got 2");
  CHECK(program.error_with("model = \"giant\"").starts_with("a.toml:1: model: expected one of tiny"));
  CHECK(program.error(0, {"--config", "none.toml"}) ==
        "none.toml: expected a configuration file, got none that can be read");
}

TEST_CASE("args: the configuration that a run writes gives back the same options") {
  Program first;
  first.train.model = {.model = "tiny", .width = 128, .depth = 4, .heads = 4, .image_size = 32, .patch_size = 4};
  first.train.train = {.output = "runs/#1, new", .seed = 5, .lr = 1.0 / 3.0};
  first.train.data.data = {"a b", "it's"};
  const auto text = config_toml("train", first.train.options());

  Program second;
  second.parse_with(text);
  CHECK(to_json(second.train.options()) == to_json(first.train.options()));
  const auto metadata = config_metadata("train", first.train.options());
  CHECK(metadata.at("format") == "beit");
  CHECK(metadata.at("command") == "train");
  Program third;
  from_json(third.train.options(), metadata.at("config"), "metadata");
  CHECK(third.train.train.lr == first.train.train.lr);
  CHECK(third.train.data.data == first.train.data.data);
}

TEST_CASE("args: help names every flag with its default, and sets nothing") {
  Program program;
  CHECK(program.parse(0, {"--lr", "1", "--help"}) == Request::kHelp);
  CHECK(program.parse(0, {"-h"}) == Request::kHelp);
  CHECK(program.train.train.lr == TrainOptions{}.lr);
  const auto text = help(program.commands[0]);
  for (const Option& option : program.commands[0].options) {
    const char* after = std::holds_alternative<bool*>(option.value) ? "," : " ";
    CHECK(text.find("--" + option.name + after) != std::string::npos);
  }
  CHECK(text.find("images a step, of all ranks together [256]") != std::string::npos);
  CHECK(text.find("--model tiny|small|base|24x544|large|huge") != std::string::npos);
  CHECK(text.find("--config FILE|RECIPE") != std::string::npos);
  const auto show = help(program.commands[1]);
  CHECK(show.find("Usage: beit show FILE [--flag value ...]") != std::string::npos);
  CHECK(show.find("--json, --no-json") != std::string::npos);
  const auto all = help(program.commands);
  CHECK(all.find("train") != std::string::npos);
  CHECK(all.find("Show it") != std::string::npos);
}

TEST_CASE("args: an unknown command is refused with the nearest") {
  Program program;
  CHECK(&find_command(program.commands, {"show", "--json"}) == &program.commands[1]);
  CHECK_THROWS_WITH_AS(find_command(program.commands, {"trian"}), "unknown command 'trian'; the nearest is 'train'",
                       Error);
  CHECK_THROWS_WITH_AS(find_command(program.commands, {"--lr"}),
                       "expected a command before the flags, got '--lr'; commands are train, show", Error);
}

TEST_CASE("args: a command of two words is found by both, and its section is written with a dot") {
  Program program;
  const std::vector<Command> commands{{"data check", "Check it", program.show.options(), {}},
                                      {"data dump", "Dump it", {}, {}},
                                      {"train", "Train it", program.train.options(), {}}};
  CHECK(&find_command(commands, {"data", "check", "--rows"}) == &commands[0]);
  CHECK(&find_command(commands, {"data", "dump"}) == &commands[1]);
  CHECK(commands_of(commands, "data").size() == 2);
  CHECK(commands_of(commands, "train").empty());
  CHECK_THROWS_WITH_AS(find_command(commands, {"data"}),
                       "data: expected one of its commands, got none; they are data check, data dump", Error);
  CHECK_THROWS_WITH_AS(find_command(commands, {"data", "--rows"}),
                       "data: expected one of its commands, got '--rows'; they are data check, data dump", Error);
  CHECK_THROWS_AS(find_command(commands, {"check"}), Error);
  beit::parse(commands[0], commands, {"--config", program.config("[data.check]\nrows = 7\n[train]\nlr = 1")});
  CHECK(program.show.rows == 7);
  CHECK(help(commands[0]).find("in a section [data.check]") != std::string::npos);
}

TEST_CASE("args: the nearest name is that of the smallest edit distance") {
  const std::vector<std::string> names{"lr", "epochs", "batch-size"};
  CHECK(nearest("epoch", names) == "epochs");
  CHECK(nearest("", names) == "lr");
  CHECK(nearest("batch_size", names) == "batch-size");
  CHECK(nearest("eopchs", names) == "epochs");
}

}  // namespace
}  // namespace beit
