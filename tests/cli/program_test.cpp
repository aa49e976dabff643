#include <doctest/doctest.h>
#include <fmt/format.h>

#include "base/version.h"
#include "tests/cli/started.h"

namespace beit {
namespace {

TEST_CASE("program: help and version") {
  const auto help = start({"--help"});
  CHECK(help.code == 0);
  CHECK(help.err.empty());
  for (const char* command : {"tokenize", "inspect"}) CHECK(help.out.find(command) != std::string::npos);
  const auto said = start({"--version"});
  CHECK(said.code == 0);
  CHECK(said.out == fmt::format("beit {}\n", version()));
  const auto tokenize = start({"tokenize", "--help"});
  CHECK(tokenize.code == 0);
  CHECK(tokenize.out.find("--tokenizer FILE|RUN") != std::string::npos);
}

TEST_CASE("program: every mistake on the command line is one line on stderr and exit code 1") {
  const auto refused = [](std::initializer_list<std::string> words, const std::string& message) {
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused({}, "expected a command, got none");
  refused({"tokenise"}, "unknown command 'tokenise'; the nearest is 'tokenize'");
  refused({"--quiet", "tokenize"}, "expected a command before the flags");
  refused({"tokenize", "--outptu", "x"}, "unknown flag '--outptu'; the nearest is '--output'");
  refused({"tokenize", "--batch-size"}, "--batch-size");
  refused({"tokenize", "--batch-size", "many"}, "tokenize: --batch-size: expected a whole number, got 'many'");
  refused({"tokenize", "--config", "/none.toml"}, "/none.toml: expected a configuration file");
  refused({"tokenize"}, "set --tokenizer");
  refused({"tokenize", "--tokenizer", "x"}, "set --data");
  refused({"tokenize", "--tokenizer", "x", "--data", "y"}, "set --output FILE or --print");
  refused({"tokenize", "--tokenizer", "/none", "--data", "/none", "--print", "--quiet"}, "/none");
  refused({"inspect"}, "say `beit inspect FILE`");
  refused({"inspect", "/none"}, "/none");
  refused({"inspect", "/"}, "model.safetensors");
}

TEST_CASE("program: help in both forms") {
  CHECK(start({"help"}).out == start({"--help"}).out);
  CHECK(start({"help", "vqkd"}).out == start({"vqkd", "--help"}).out);
  CHECK(start({"help", "vqkd"}).out.find("--revive-threshold") != std::string::npos);
}

TEST_CASE("program: every configuration in the repository is understood") {
  const auto folder = source_folder() / "configs";
  if (!std::filesystem::exists(folder)) return;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    CAPTURE(entry.path().string());
    // Once the file is understood, the command misses its file.
    CHECK(start({"inspect", "--config", entry.path().string()}).err.find("say `beit inspect FILE`") !=
          std::string::npos);
  }
}

}  // namespace
}  // namespace beit
