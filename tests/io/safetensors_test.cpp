#include "io/safetensors.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/io/files.h"
#include "tests/support.h"

using namespace beit;

namespace {

/// A file of the format, whatever its header says.
std::string with_header(const std::string& header, size_t data_bytes) {
  return raw(uint64_t{header.size()}) + header + std::string(data_bytes, '\0');
}

std::string member(const std::string& name, const std::string& shape, const std::string& offsets,
                   const std::string& dtype = "F32") {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape, offsets);
}

bool same(const torch::Tensor& a, const torch::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (a.numel() == 0 ||
          std::memcmp(a.contiguous().const_data_ptr(), b.contiguous().const_data_ptr(), a.nbytes()) == 0);
}

/// Expects an Error that names the file and says `part`.
void check_refused(const std::string& bytes, const std::string& part) {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.safetensors";
  put_file(path, bytes);
  check_refusal([&] { read_safetensors(path); }, path.string() + ": ", part);
}

}  // namespace

TEST_CASE("safetensors: tensors of every dtype come back bit by bit") {
  const TemporaryFolder folder;
  torch::manual_seed(3);
  TensorMap tensors;
  for (const auto type :
       {torch::kUInt8, torch::kInt8, torch::kUInt16, torch::kInt16, torch::kUInt32, torch::kInt32, torch::kUInt64,
        torch::kInt64, torch::kFloat8_e4m3fn, torch::kFloat8_e5m2, torch::kFloat8_e8m0fnu, torch::kFloat16,
        torch::kBFloat16, torch::kFloat32, torch::kFloat64, torch::kComplexFloat}) {
    const auto bytes = torch::randint(256, {3, 5 * static_cast<int64_t>(torch::elementSize(type))}, torch::kUInt8);
    tensors.emplace(torch::toString(type), bytes.view(type));
  }
  tensors.emplace("Bool", torch::tensor({true, false, true}));
  write_safetensors(folder.path / "a", tensors);
  const auto found = read_safetensors(folder.path / "a");
  REQUIRE(found.tensors.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) CHECK_MESSAGE(same(found.tensors.at(name), tensor), name);
  CHECK(found.metadata.empty());
}

TEST_CASE("safetensors: shapes, names and metadata come back as they were") {
  const TemporaryFolder folder;
  const TensorMap tensors{{"empty", torch::zeros({0, 3})},
                          {"empty.too", torch::zeros({4, 0}, torch::kInt64)},
                          {"scalar", torch::tensor(2.5)},
                          {"a name: \"größe\"\n", torch::arange(3)},
                          {"strided", torch::arange(24).view({2, 3, 4}).permute({2, 0, 1})},
                          {"part", torch::arange(10).slice(0, 1, 9, 2)},
                          {"conjugate", torch::complex(torch::ones(2), torch::arange(2.F)).conj()},
                          {"wants a gradient", torch::ones({2, 2}, torch::requires_grad())}};
  const std::map<std::string, std::string> metadata{{"config", R"({"a": "b"})"}, {"ü", "\n\\\"\x01"}, {"", ""}};
  write_safetensors(folder.path / "a", tensors, metadata);
  const auto found = read_safetensors(folder.path / "a");
  CHECK(found.metadata == metadata);
  REQUIRE(found.tensors.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const auto plain = tensor.detach().resolve_conj();
    CHECK_MESSAGE(same(found.tensors.at(name), plain), name);
    CHECK_FALSE(found.tensors.at(name).requires_grad());
  }
  write_safetensors(folder.path / "a", {});
  CHECK(read_safetensors(folder.path / "a").tensors.empty());
}

TEST_CASE("safetensors: the file depends on names, values and metadata only") {
  const TemporaryFolder folder;
  const auto rows = torch::arange(6.F).view({2, 3});
  write_safetensors(folder.path / "a", {{"x", rows}, {"y", torch::ones(1, torch::kUInt8)}}, {{"k", "v"}});
  write_safetensors(folder.path / "b", {{"x", rows.t().contiguous().t()}, {"y", torch::ones(1, torch::kUInt8)}},
                    {{"k", "v"}});
  CHECK(file_bytes(folder.path / "a") == file_bytes(folder.path / "b"));
}

TEST_CASE("safetensors: tensors are views of the file, which they never change and may outlive") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a";
  write_safetensors(path, {{"odd", torch::ones(3, torch::kUInt8)}, {"x", torch::arange(1000)}});
  const auto before = file_bytes(path);
  auto x = read_safetensors(path).tensors.at("x");
  CHECK(reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 8 == 0);
  x.add_(1);
  CHECK(file_bytes(path) == before);
  write_safetensors(path, {{"x", torch::zeros(1000)}});
  std::filesystem::remove(path);
  CHECK(torch::equal(x, torch::arange(1, 1001)));
}

TEST_CASE("safetensors: data at odd offsets is read as well") {
  const TemporaryFolder folder;
  const std::string header = "{" + member("b", "[1]", "[0,1]", "U8") + "," + member("x", "[2]", "[1,9]") + "}";
  put_file(folder.path / "a", raw(uint64_t{header.size()}) + header + '\x07' + raw(1.5F) + raw(-2.F));
  const auto tensors = read_safetensors(folder.path / "a").tensors;
  CHECK(torch::equal(tensors.at("x"), torch::tensor({1.5F, -2.F})));
  CHECK(tensors.at("b").item<int>() == 7);
}

TEST_CASE("safetensors: a bool is true for any byte but zero") {
  const TemporaryFolder folder;
  const std::string header = "{" + member("b", "[3]", "[0,3]", "BOOL") + "}";
  put_file(folder.path / "a", raw(uint64_t{header.size()}) + header + std::string("\0\x02\xff", 3));
  CHECK(torch::equal(read_safetensors(folder.path / "a").tensors.at("b"), torch::tensor({false, true, true})));
}

TEST_CASE("safetensors: a file that does not hold its header is refused") {
  check_refused("", "got 0 bytes");
  check_refused("1234567", "got 7 bytes");
  check_refused(raw(uint64_t{0}), "header: expected JSON");
  check_refused(raw(uint64_t{3}) + "{}", "got a length of 3 at offset 0");
  check_refused(raw(uint64_t{1} << 63) + "{}", "got a length of 9223372036854775808");
  check_refused(raw(~uint64_t{0}) + "{}", "got a length of 18446744073709551615");
}

TEST_CASE("safetensors: a file that ends anywhere else than at its end is refused") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a";
  write_safetensors(path, {{"x", torch::ones({2, 3})}, {"y", torch::ones(2, torch::kUInt8)}}, {{"k", "v"}});
  const auto whole = file_bytes(path);
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    put_file(path, whole.substr(0, bytes));
    CHECK_THROWS_AS_MESSAGE(read_safetensors(path), Error, bytes);
  }
  put_file(path, whole + '\0');
  CHECK_THROWS_WITH_AS(read_safetensors(path), doctest::Contains("got 1 bytes too many"), Error);
}

TEST_CASE("safetensors: a header that is no object of tensors is refused") {
  check_refused(with_header("{", 0), "header: expected JSON, got a syntax error at offset 9");
  check_refused(with_header("{\"a\":\"\xff\"}", 0), "syntax error");
  check_refused(with_header("{\"a\xc3\":1}", 0), "syntax error");
  check_refused(with_header("nonsense", 0), "syntax error");
  check_refused(with_header("{} {}", 0), "syntax error");
  check_refused(with_header("[]", 0), "got a JSON array");
  check_refused(with_header("7", 0), "got a JSON number");
  check_refused(with_header("{\"a\":1e999}", 0), "header: expected JSON, got a number out of range");
  check_refused(with_header("{\"a\":7}", 0), "\"a\": expected a dtype, got none");
  check_refused(with_header("{\"a\":{\"dtype\":3}}", 0), "\"a\": expected a dtype, got none");
  check_refused(with_header("{\"a\":{\"dtype\":\"F32\"}}", 0), "\"a\": expected a shape");
  check_refused(with_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0), "\"a\": expected data_offsets");
  check_refused(with_header("{\"__metadata__\":[]}", 0), "__metadata__: expected an object of strings");
  check_refused(with_header("{\"__metadata__\":{\"k\":1}}", 0), "expected a string as \"k\"");
  check_refused(with_header("{\"__metadata__\":{\"k\":{\"k\":\"v\"}}}", 0), "expected a string as \"k\"");
}

TEST_CASE("safetensors: a dtype or shape that no tensor has is refused") {
  const auto refuse = [](const std::string& shape, const std::string& part, const std::string& dtype = "F32") {
    check_refused(with_header("{" + member("a", shape, "[0,16]", dtype) + "}", 16), "\"a\": expected " + part);
  };
  refuse("[4]", "a dtype that LibTorch has, got \"F4\"", "F4");
  refuse("[4]", "a dtype that LibTorch has, got \"f32\"", "f32");
  refuse("4", "a shape of whole numbers");
  refuse("[4.0]", "a shape of whole numbers");
  refuse("[-4]", "a shape of whole numbers");
  refuse("[-2,-2]", "a shape of whole numbers");
  refuse("[\"4\"]", "a shape of whole numbers");
  refuse("[18446744073709551615]", "a shape of whole numbers");
  refuse("[18446744073709551616]", "a shape of whole numbers");
  refuse("[3]", "as many bytes as shape and dtype say");
  refuse("[5]", "as many bytes as shape and dtype say");
  refuse("[4]", "as many bytes as shape and dtype say", "F64");
  refuse("[0]", "as many bytes as shape and dtype say");
  refuse("[4611686018427387908]", "as many bytes as shape and dtype say");      // times 4 is 16 modulo 2^64
  refuse("[4294967296,4294967296,4]", "as many bytes as shape and dtype say");  // 2^66
  check_refused(with_header("{" + member("a", "[0,4294967296,4294967296]", "[0,0]") + "}", 0), "as many bytes");
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  check_refused(with_header("{" + member("a", "[" + ones + "]", "[0,4]") + "}", 4), "at most 64 dimensions, got 65");
}

TEST_CASE("safetensors: offsets out of the file, in another's data or leaving a gap are refused") {
  const auto refuse = [](const std::string& offsets, const std::string& part) {
    check_refused(with_header("{" + member("a", "[4]", offsets) + "}", 16), "\"a\": expected " + part);
  };
  refuse("[0,17]", "data from offset");
  refuse("[16,32]", "data from offset");
  refuse("[1,17]", "data from offset");
  refuse("[16,0]", "data from offset");
  refuse("[0,9223372036854775807]", "data from offset");
  refuse("[0,18446744073709551615]", "data_offsets of two whole numbers");
  refuse("[-16,0]", "data_offsets of two whole numbers");
  refuse("[0,16,16]", "data_offsets of two whole numbers");
  refuse("[0]", "data_offsets of two whole numbers");
  refuse("[0.0,16.0]", "data_offsets of two whole numbers");
  const auto two = [](const std::string& first, const std::string& second) {
    return with_header("{" + member("a", "[2]", first) + "," + member("b", "[2]", second) + "}", 16);
  };
  check_refused(two("[0,8]", "[0,8]"), "\"b\": expected data from offset");
  check_refused(two("[0,8]", "[4,12]"), "\"b\": expected data from offset");
  check_refused(two("[8,16]", "[8,16]"), "\"a\": expected data from offset");
  check_refused(with_header("{" + member("a", "[2]", "[0,8]") + "," + member("b", "[1]", "[12,16]") + "}", 16),
                "\"b\": expected data from offset");
  check_refused(with_header("{" + member("a", "[2]", "[0,8]") + "}", 16), "got 8 bytes too many");
}

TEST_CASE("safetensors: what comes twice is refused") {
  check_refused(with_header("{" + member("a", "[2]", "[0,8]") + "," + member("a", "[2]", "[8,16]") + "}", 16),
                "expected each key once, got \"a\" twice");
  check_refused(with_header("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8),
                "expected each key once, got \"dtype\" twice");
  check_refused(with_header("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0), "got \"k\" twice");
}

TEST_CASE("safetensors: deep nesting is refused before it costs memory") {
  check_refused(with_header(std::string(1 << 20, '['), 0), "at most 3 levels");
  check_refused(with_header("{\"a\":" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}", 0),
                "at most 3 levels");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  check_refused(with_header(objects, 0), "at most 3 levels");
}

TEST_CASE("safetensors: a header that costs far more than its bytes is refused") {
  const std::string part = "expected JSON that fits the file's size and 56 MiB, got more";
  std::string numbers = "{\"a\":[1", keys = "{\"a\":{\"0\":1";
  for (int i = 1; i < 700'000; ++i) {
    numbers += ",1";
    keys += fmt::format(",\"{}\":1", i);
  }
  check_refused(with_header(numbers + "]}", 0), part);
  check_refused(with_header(keys + "}}", 0), part);
  check_refused(with_header("{\"__metadata__\":{\"k\":\"" + std::string(40 << 20, 'v') + "\"}}", 0), part);
  std::string tensors = "{" + member("0", "[0]", "[0,0]");
  for (int i = 1; i < 100'000; ++i) tensors += "," + member(std::to_string(i), "[0]", "[0,0]");
  check_refused(with_header(tensors + "}", 0), "that fit");
}

TEST_CASE("safetensors: the names come in the order of their data") {
  const std::string header =
      "{" + member("a", "[1]", "[4,8]") + "," + member("c", "[1]", "[0,4]") + "," + member("b", "[1]", "[8,12]") + "}";
  const TemporaryFolder folder;
  put_file(folder.path / "a", with_header(header, 12));
  CHECK(read_safetensors(folder.path / "a").order == std::vector<std::string>{"c", "a", "b"});
}

TEST_CASE("safetensors: names from a file cannot break an error's line") {
  check_refused(with_header("{\"a\\nb\\u001b[31m\":7}", 0), "\"a?b?[31m\": expected a dtype");
  check_refused(with_header("{\"" + std::string(5000, 'n') + "\":7}", 0),
                std::string(80, 'n') + "...\": expected a dtype");
}

TEST_CASE("safetensors: whatever a byte of the header is changed to, the file is read or refused") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a";
  write_safetensors(path, {{"x", torch::ones({2, 3})}, {"y", torch::ones(2, torch::kInt64)}}, {{"k", "v"}});
  const auto whole = file_bytes(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, whole.data(), sizeof header_bytes);
  int refused = 0;
  for (size_t at = 0; at < 8 + header_bytes; ++at) {
    for (const char other : {'\0', '\xff', '"', '{', ']', ',', '9', '-', 'e'}) {
      auto changed = whole;
      changed[at] = other;
      put_file(path, changed);
      try {
        for (const auto& [name, tensor] : read_safetensors(path).tensors) CHECK(tensor.nbytes() <= whole.size());
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  CHECK(refused > 500);
}

TEST_CASE("safetensors: what cannot be read is an error that names it") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(read_safetensors(folder.path / "none"), doctest::Contains("none: expected a readable file"),
                       Error);
  CHECK_THROWS_WITH_AS(read_safetensors(folder.path), doctest::Contains("expected a regular file"), Error);
  CHECK_THROWS_WITH_AS(read_safetensors("/dev/null"), doctest::Contains("expected a regular file"), Error);
}

TEST_CASE("safetensors: what the format cannot hold is refused and leaves the old file") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a";
  put_file(path, "old");
  const auto refuse = [&](const std::string& name, const torch::Tensor& tensor, const char* part) {
    CHECK_THROWS_WITH_AS(write_safetensors(path, {{"x", torch::ones(2)}, {name, tensor}}), doctest::Contains(part),
                         Error);
    CHECK(file_bytes(path) == "old");
  };
  refuse("a", {}, "a: \"a\": expected a dense tensor");
  refuse("a", torch::ones({2, 2}).to_sparse(), "\"a\": expected a dense tensor");
  refuse("__metadata__", torch::ones(2), "\"__metadata__\": expected a dense tensor");
  refuse("a", torch::zeros(2, torch::kComplexDouble), "\"a\": expected a dtype of the format, got ComplexDouble");
  refuse("a\xff", torch::ones(2), "expected names and metadata in UTF-8");
  CHECK_THROWS_WITH_AS(write_safetensors(path, {}, {{"k", "\xff"}}), doctest::Contains("in UTF-8"), Error);
  CHECK(count_files(folder.path) == 1);
}
