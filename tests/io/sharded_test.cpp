#include "io/sharded.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "io/weights.h"
#include "tests/io/files.h"
#include "tests/support.h"

using namespace beit;

namespace {

/// Two files beside an index, whose content is given.
struct Shards {
  explicit Shards(const std::string& json) {
    write_safetensors(folder.path / "1.safetensors", {{"a", torch::arange(3)}, {"b", torch::ones(2)}}, {{"k", "v"}});
    write_safetensors(folder.path / "2.safetensors", {{"c", torch::zeros(4)}});
    put_file(index, json);
  }
  TensorFile read() const { return read_weights(index); }

  TemporaryFolder folder;
  std::filesystem::path index = folder.path / "model.safetensors.index.json";
};

void check_refused(const std::string& json, const std::string& part) {
  const Shards shards(json);
  check_refusal([&] { shards.read(); }, shards.index.string() + ": ", part);
}

std::string map_of(const std::string& entries) { return "{\"weight_map\": {" + entries + "}}"; }

const std::string kBoth = R"("a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors")";

}  // namespace

TEST_CASE("sharded: all files of the index are read as one") {
  const Shards shards(R"({"metadata": {"total_size": 48, "more": {"x": [1, 2]}}, "weight_map": {)" + kBoth + "}}");
  const auto found = shards.read();
  REQUIRE(found.tensors.size() == 3);
  CHECK(torch::equal(found.tensors.at("a"), torch::arange(3)));
  CHECK(torch::equal(found.tensors.at("c"), torch::zeros(4)));
  CHECK(found.order == std::vector<std::string>{"a", "b", "c"});
  CHECK(found.metadata == std::map<std::string, std::string>{{"k", "v"}});
}

TEST_CASE("sharded: files of PyTorch's own form are read as well") {
  const Shards shards("");
  std::filesystem::remove(shards.index);
  std::filesystem::copy_file(golden("objects.pth"), shards.folder.path / "a.bin");
  put_file(shards.folder.path / "pytorch_model.bin.index.json", map_of(R"("model.weight": "a.bin")"));
  CHECK(read_weights(shards.folder.path).tensors.contains("model.weight"));
}

TEST_CASE("sharded: an index that is not what its files hold is refused") {
  check_refused(map_of(kBoth + R"(, "d": "2.safetensors")"), "\"d\": expected it in \"2.safetensors\", got none there");
  check_refused(map_of(R"("a": "2.safetensors", "b": "1.safetensors")"), "\"a\": expected it in \"2.safetensors\"");
  const Shards shards(map_of(R"("a": "1.safetensors", "c": "2.safetensors")"));
  write_safetensors(shards.folder.path / "2.safetensors", {{"c", torch::zeros(4)}, {"a", torch::arange(3)}});
  CHECK_THROWS_WITH_AS(shards.read(), doctest::Contains("\"a\": expected it in one file, got it in \"2.safetensors\""),
                       Error);
  std::filesystem::remove(shards.folder.path / "2.safetensors");
  CHECK_THROWS_WITH_AS(shards.read(), doctest::Contains("2.safetensors: expected a readable file"), Error);
}

TEST_CASE("sharded: names that lead elsewhere are refused") {
  for (const char* name : {R"("../1.safetensors")", R"("/etc/passwd")", R"("x/1.safetensors")", R"("..")", R"(".")",
                           R"("")", R"("1.safetensors\u0000")", R"("a\\b")", "3", "null", R"(["1.safetensors"])"}) {
    check_refused(map_of("\"a\": " + std::string(name)), "\"a\": expected the name of a file beside the index, got ");
  }
}

TEST_CASE("sharded: what is no index is refused") {
  check_refused("", "expected JSON, got a syntax error at offset 0");
  check_refused("[]", "expected a JSON object, got a JSON array");
  check_refused("{}", "expected a weight_map of tensor names to files, got none");
  check_refused(R"({"weight_map": []})", "expected a weight_map");
  check_refused(map_of(""), "expected a weight_map");
  check_refused(map_of(kBoth + R"(, "a": "2.safetensors")"), "expected each key once, got \"a\" twice");
  check_refused(R"({"metadata": )" + std::string(100'000, '['), "expected at most 8 levels, got more");
}
