#include "io/pth.h"

#include <doctest/doctest.h>

#include <set>

#include "base/error.h"
#include "tests/io/pth_files.h"
#include "tests/io/zip_files.h"
#include "tests/support.h"

using namespace beit;
using namespace std::string_literals;

namespace {

TensorFile read(const std::string& bytes) {
  const TemporaryFolder folder;
  put_file(folder.path / "a.pth", bytes);
  return read_pth(folder.path / "a.pth");
}

void check_refused(const std::string& bytes, const std::string& part) {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.pth";
  put_file(path, bytes);
  check_refusal([&] { read_pth(path); }, path.string() + ": ", part);
}

void check_equal(const TensorFile& found, const TensorFile& expected) {
  CHECK(found.tensors.size() == expected.tensors.size());
  for (const auto& [name, tensor] : expected.tensors) {
    CAPTURE(name);
    REQUIRE(found.tensors.contains(name));
    const auto &a = found.tensors.at(name), &b = tensor;
    REQUIRE((a.scalar_type() == b.scalar_type()));
    REQUIRE(a.sizes() == b.sizes());
    CHECK(torch::equal(a.reshape(-1).view(torch::kUInt8), b.reshape(-1).view(torch::kUInt8)));
  }
  std::set<std::string> names(found.order.begin(), found.order.end());
  CHECK(names.size() == found.order.size());
  CHECK(names.size() == found.tensors.size());
  for (const auto& name : names) CHECK(found.tensors.contains(name));
}

}  // namespace

TEST_CASE("pth: PyTorch's file reads as the same tensors in safetensors") {
  const auto found = read_pth(golden("legacy.pth"));
  const auto expected = read_safetensors(golden("legacy.safetensors"));
  check_equal(found, expected);
  CHECK(found.metadata ==
        std::map<std::string, std::string>{
            {"epoch", "3"}, {"rate", "0.125"}, {"name", "tiny"}, {"done", "true"}, {"sizes.0", "4"}, {"sizes.1", "5"}});
}

TEST_CASE("pth: PyTorch's zip form reads as the same tensors, whatever else it holds") {
  const auto found = read_pth(golden("objects.pth"));
  check_equal(found, read_safetensors(golden("objects.safetensors")));
  auto texts = found.metadata;
  std::erase_if(texts, [](const auto& entry) { return entry.first.starts_with("optimizer.param_groups."); });
  CHECK(texts == std::map<std::string, std::string>{{"args.lr", "0.5"},
                                                    {"args.layers.0", "2"},
                                                    {"args.layers.1", "3"},
                                                    {"counts.seen.0", "7"},
                                                    {"epoch", "3"},
                                                    {"long", "1099511627776"},
                                                    {"7", "seven"}});
  CHECK(found.metadata.at("optimizer.param_groups.0.betas.1") == "0.75");
  CHECK(found.order.front() == "model.weight");  // as the module lists it
  CHECK(found.order.at(1) == "model.bias");
}

TEST_CASE("pth: a TorchScript archive reads as its modules' tensors") {
  const auto found = read_pth(golden("script.pt"));
  check_equal(found, read_safetensors(golden("script.safetensors")));
  CHECK(found.metadata.empty());
}

TEST_CASE("pth: tensors of the zip form are views of the file, which they never change and may outlive") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.pth";
  const auto bytes = file_bytes(golden("objects.pth"));
  put_file(path, bytes);
  auto tensors = read_pth(path).tensors;
  const auto &base = tensors.at("others.base"), &view = tensors.at("others.view");
  CHECK(view.storage().data() == base.storage().data());
  CHECK(reinterpret_cast<uintptr_t>(base.const_data_ptr()) % 64 == 0);
  const auto before = base.clone();
  tensors.at("others.base").add_(1);
  CHECK(file_bytes(path) == bytes);
  std::filesystem::remove(path);
  CHECK(torch::equal(base, before + 1));
}

TEST_CASE("pth: views keep their strides and share their storage") {
  const auto tensors = read_pth(golden("legacy.pth")).tensors;
  const auto &base = tensors.at("model.base"), &view = tensors.at("model.view");
  CHECK_FALSE(view.is_contiguous());
  CHECK(view.storage().data() == base.storage().data());
  CHECK(torch::equal(view, base.slice(0, 1, 4).slice(1, 2, 11, 3).t()));
}

TEST_CASE("pth: a file made by hand is read, so that the lies below are what is refused") {
  const auto tensors = read(one(tensor(storage("0", 4), 1, {3}, {1}))).tensors;
  CHECK(torch::equal(tensors.at("a"), torch::tensor({2.F, 3.F, 4.F})));
  CHECK(torch::equal(read(one(tensor(storage("0", 4), 0, {2, 2}, {1, 2}))).tensors.at("a"),
                     torch::tensor({{1.F, 3.F}, {2.F, 4.F}})));
  CHECK(read(one(tensor(storage("0", 4), 4, {0, 7}, {7, 1}))).tensors.at("a").sizes() == torch::IntArrayRef({0, 7}));
  CHECK(read(one(tensor(storage("0", 4), 3, {}, {}))).tensors.at("a").item<float>() == 4.F);
  const auto bools = file(dict({{"a", tensor(storage("0", 3, "BoolStorage"), 0, {3}, {1})}}), {"0"},
                          raw(int64_t{3}) + "\x00\x02\xff"s);
  CHECK(torch::equal(read(bools).tensors.at("a"), torch::tensor({false, true, true})));
}

TEST_CASE("pth: a file cut anywhere is refused") {
  const auto whole = file_bytes(golden("legacy.pth"));
  const TemporaryFolder folder;
  const auto path = folder.path / "a.pth";
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    put_file(path, whole.substr(0, bytes));
    CHECK_THROWS_WITH_AS_MESSAGE(read_pth(path), doctest::Contains(path.c_str()), Error, bytes);
  }
}

TEST_CASE("pth: whatever a byte is changed to, the file is read or refused") {
  const auto whole = file_bytes(golden("legacy.pth"));
  const TemporaryFolder folder;
  const auto path = folder.path / "a.pth";
  int refused = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {0x01, 0x80, 0xff, -1}) {
      auto changed = whole;
      changed[at] = static_cast<char>(change < 0 ? 0 : changed[at] ^ change);
      put_file(path, changed);
      try {
        for (const auto& [name, tensor] : read_pth(path).tensors) CHECK(tensor.nbytes() <= whole.size());
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  CHECK(refused > 2000);
}

TEST_CASE("pth: other files are told from the legacy form") {
  check_refused("", "expected a binary pickle, got other bytes at offset 0");
  check_refused("PK\x03\x04 and so on, longer than any end", "archive: expected its directory at the end, got none");
  check_refused(pickle("N"), "expected PyTorch's magic number");
  check_refused(pickle("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x18"), "expected PyTorch's magic number");
  check_refused(kMagic + pickle("M\xea\x03"), "expected protocol 1001");
  check_refused(kMagic + pickle(text("1001")), "expected protocol 1001");
  check_refused(kMagic + kProtocol + pickle("N"), "expected the facts of the saving system");
  check_refused(kMagic + kProtocol + pickle(dict({{"little_endian", "\x89"}})), "got a big-endian one");
  const auto rest = [](const std::string& object) { return kMagic + kProtocol + kSystem + pickle(object); };
  check_refused(file(list({}), {}, ""), "expected a dict of tensors, got another value");
  check_refused(file("cmodels.vit\nVisionTransformer\n)R", {}, ""),
                "expected a dict of tensors, got the object \"models.vit.VisionTransformer\"");
  check_refused(rest("cposix\nsystem\n" + text("true") + "\x85R"), "nothing was run");
  check_refused(rest(dict({})) + pickle("N"), "expected a list of storage keys");
}

TEST_CASE("pth: a storage that is not what the file holds is refused") {
  const auto refuse = [](int64_t elements, const std::string& data, const std::string& part) {
    check_refused(file(dict({{"a", tensor(storage("0", elements), 0, {1}, {1})}}), {"0"}, data), part);
  };
  refuse(5, kFour, "storage \"0\": expected 5 elements of 4 bytes");
  refuse(3, kFour, "storage \"0\": expected 3 elements of 4 bytes");
  refuse(4, kFour.substr(0, 23), "got 4 and 15 bytes left");
  refuse(4, "", "got -1 and 0 bytes left");
  refuse(int64_t{1} << 62, raw(int64_t{1} << 62) + "abcd", "got 4611686018427387904 and 4 bytes left");
  refuse(-1, raw(int64_t{-1}), "expected (\"storage\", type, key, location, elements)");

  const auto a = tensor(storage("0", 4), 0, {4}, {1});
  check_refused(file(dict({{"a", a}}), {}, ""), "storage \"0\": expected it in the file, got none");
  check_refused(file(dict({{"a", a}}), {"0", "0"}, kFour + kFour), "expected one that a tensor uses, listed once");
  check_refused(file(dict({{"a", a}}), {"0", "1"}, kFour + kFour), "storage \"1\": expected one that a tensor uses");
  check_refused(file(dict({{"a", a}, {"b", tensor(storage("0", 2), 0, {2}, {1})}}), {"0"}, kFour),
                "storage \"0\": expected one type and size, got two");
  check_refused(file(dict({{"a", a}, {"b", tensor(storage("0", 4, "IntStorage"), 0, {2}, {1})}}), {"0"}, kFour),
                "storage \"0\": expected one type and size, got two");
  check_refused(one(tensor("(" + text("storage") + "ctorch._utils\n_rebuild_tensor_v2\n" + text("0") + text("cpu") +
                               number(4) + "NtQ",
                           0, {4}, {1})),
                "expected a storage type that LibTorch has, got \"torch._utils._rebuild_tensor_v2\"");
  check_refused(one(tensor("(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(4) +
                               tuple({0, 4}) + "tQ",
                           0, {4}, {1})),
                "expected whole storages, got a view");
  const auto alone = [](const std::string& id) { return file(dict({{"a", tensor(id, 0, {4}, {1})}}), {}, ""); };
  check_refused(alone(text("0") + "Q"), "\"a\": expected (\"storage\", type, key, location, elements)");
  check_refused(alone("(" + text("module") + "tQ"), "\"a\": expected (\"storage\"");
}

TEST_CASE("pth: a tensor that reaches out of its storage, or is larger than it, is refused") {
  const auto refuse = [](int64_t offset, const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides) {
    check_refused(one(tensor(storage("0", 4), offset, sizes, strides)),
                  "\"a\": expected elements within a storage of 4");
  };
  refuse(0, {5}, {1});
  refuse(1, {4}, {1});
  refuse(4, {}, {});
  refuse(5, {0}, {1});
  refuse(-1, {2}, {1});
  refuse(0, {2, 2}, {3, 1});
  refuse(0, {2}, {4});
  refuse(0, {2}, {1, 1});
  refuse(0, {1'000'000'000}, {0});
  refuse(0, {int64_t{1} << 32, int64_t{1} << 32}, {0, 0});
  refuse(0, {3}, {INT64_MAX});
  refuse(0, {2, 2}, {INT64_MAX, INT64_MAX});
  refuse(INT64_MAX, {2}, {1});
  refuse(0, {0, int64_t{1} << 32, int64_t{1} << 32}, {1, 1, 1});
  const auto refuse_dimension = [](int64_t size, int64_t stride) {
    check_refused(one(tensor(storage("0", 4), 0, {size}, {stride})),
                  "\"a\": expected a tuple of up to 64 whole numbers");
  };
  refuse_dimension(-2, 1);
  refuse_dimension(2, -1);
  check_refused(one(tensor(storage("0", 4), 0, std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1))),
                "\"a\": expected a tuple of up to 64 whole numbers");
}

TEST_CASE("pth: what should have been a tensor is refused") {
  const auto alone = [](const std::string& object) { return file(dict({{"a", object}}), {}, ""); };
  check_refused(alone("ctorch._utils\n_rebuild_tensor_v2\n)R"), "\"a\": expected a storage and an offset");
  check_refused(alone("ctorch._utils\n_rebuild_tensor_v3\n)R"), "\"a\": expected a storage and an offset");
  check_refused(alone("ctorch._utils\n_rebuild_tensor_v2\n(" + number(0) + number(0) + tuple({}) + tuple({}) + "tR"),
                "\"a\": expected a storage and an offset");
  check_refused(
      one("ctorch._utils\n_rebuild_tensor_v2\n(" + storage("0", 4) + number(0) + number(4) + tuple({1}) + "tR"),
      "\"a\": expected a tuple of up to 64 whole numbers");
  for (const std::string kind : {"sparse_tensor", "qtensor", "nested_tensor", "parameter", "meta_tensor_no_storage"}) {
    check_refused(alone("ctorch._utils\n_rebuild_" + kind + "\n)R"),
                  "\"a\": expected a dense tensor, got what \"torch._utils._rebuild_" + kind + "\" makes");
  }
  check_refused(one("ctorch._utils\n_rebuild_tensor_v2\n(" + storage("0", 4) + number(0) + tuple({4}) + tuple({1}) +
                    "\x89)" + dict({{"conj", "\x88"}}) + "tR"),
                "to be conjugated or negated");
}

TEST_CASE("pth: other objects are skipped") {
  const auto a = number(1);
  const std::string thing = "cmodels\nThing\n)\x81" + dict({{"x", tensor(storage("0", 4), 0, {4}, {1})}}) + "b";
  for (const std::string& other : {"ctorch\nFloatStorage\n)R"s, "cmodels\nThing\n"s, thing, "\x8f(N\x90"s, "C\x01x"s,
                                   "N"s, "}N" + a + "s", "})" + a + "s"}) {
    const auto found = read(file(dict({{"other", other}, {"a", a}}), {}, ""));
    CHECK(found.metadata == std::map<std::string, std::string>{{"a", "1"}});
    CHECK(found.tensors.empty());
  }
}

TEST_CASE("pth: names that would meet are refused, nested names are joined by dots") {
  const auto a = number(1);
  const auto found = read(file(dict({{"a", dict({{"b", a}})}, {"c", list({a, "N", dict({{"d", a}})})}}), {}, ""));
  CHECK(found.metadata == std::map<std::string, std::string>{{"a.b", "1"}, {"c.0", "1"}, {"c.2.d", "1"}});
  check_refused(file(dict({{"a", a}, {"a", a}}), {}, ""), "\"a\": expected each name once");
  check_refused(file(dict({{"a.b", a}, {"a", dict({{"b", a}})}}), {}, ""), "\"a.b\": expected each name once");
}

TEST_CASE("pth: deep or endless nesting is refused") {
  std::string deep = number(1);
  for (int i = 0; i < 33; ++i) deep = list({deep});
  check_refused(file(dict({{"a", deep}}), {}, ""), "expected at most 32 levels");
  check_refused(file("}q\x01(" + text("a") + "h\x01u", {}, ""), "expected at most 32 levels");
  check_refused(file(dict({{"a",
                            "]q\x01(h\x01h\x01"
                            "e"}}),
                     {}, ""),
                "expected at most 32 levels");
}

TEST_CASE("pth: a small file cannot become a large one") {
  // Lists of lists, each of ten times the same, down to a tensor.
  std::string body = tensor(storage("0", 4), 0, {4}, {1}) +
                     "q\x01"
                     "0";
  for (char level = 1; level < 20; ++level) {
    body += "](";
    for (int i = 0; i < 10; ++i) body += "h"s + level;
    body += "eq"s + static_cast<char>(level + 1) + "0";
  }
  check_refused(file(body + dict({{"a", "h\x14"}}), {"0"}, kFour),
                "expected names, texts and tensors that fit the file's size and 56 MiB, got more");
}

TEST_CASE("pth: a zip file made by hand is read, so that the lies below are what is refused") {
  const auto a = tensor(storage("0", 4), 0, {4}, {1});
  const std::string data = raw(1.F) + raw(2.F) + raw(3.F) + raw(4.F);
  const ZipPart object{"top/data.pkl", pickle(dict({{"a", a}}))}, numbers{"top/data/0", data};
  CHECK(torch::equal(read(zip_file({object, numbers})).tensors.at("a"), torch::tensor({1.F, 2.F, 3.F, 4.F})));
  CHECK(torch::equal(read(zip_file({{"data.pkl", object.data}, {"data/0", data}})).tensors.at("a"),
                     torch::tensor({1.F, 2.F, 3.F, 4.F})));
  CHECK(read(zip_file({object, numbers, {"top/byteorder", "little"}, {"top/version", "3\n"}})).tensors.size() == 1);
  // An odd place: copied, not used where it lies.
  CHECK(torch::equal(read(zip_file({{"x", "odd"}, object, numbers}, {.aligned = false})).tensors.at("a"),
                     torch::tensor({1.F, 2.F, 3.F, 4.F})));

  check_refused(zip_file({object, numbers, {"top/byteorder", "big"}}),
                "\"top/byteorder\": expected little, got \"big\"");
  check_refused(zip_file({object}), "storage \"0\": expected it in the archive, got none");
  check_refused(zip_file({object, {"other/data/0", data}}), "storage \"0\": expected it in the archive, got none");
  check_refused(zip_file({object, {"top/data/0", data.substr(0, 15)}}),
                "\"top/data/0\": expected 4 elements of 4 bytes at offset 320, got 15 bytes");
  check_refused(zip_file({{"top/data.pkl", pickle("N")}}), "\"top/data.pkl\": expected a dict of tensors");
  check_refused(zip_file({{"top/data.pkl", "\x80\x02"}}), "\"top/data.pkl\": pickle: expected 1 more bytes, got 0");
  check_refused(zip_file({{"top/data.pkl", "\x80\x02}"}, {"top/x", "......"}}), "pickle: expected 1 more bytes, got 0");
  check_refused(zip_file({numbers}), "archive: expected a member data.pkl, got none of 1");
  check_refused(zip_file({object, {"other/data.pkl", ""}, numbers}), "archive: expected one data.pkl, got \"");
  check_refused(zip_file({{.name = "top/data.pkl", .data = object.data, .method = 8}, numbers}),
                "archive: \"top/data.pkl\": expected a member that is stored as it is");
  check_refused(zip_file({object, {.name = "top/data/0", .data = data, .method = 8}}),
                "archive: \"top/data/0\": expected a member that is stored as it is");
  check_refused(zip_file({{"top/data.pkl", pickle("cposix\nsystem\n" + text("true") + "\x85R")}}),
                "\"top/data.pkl\": pickle: expected tensors and plain values, got \"posix.system\" at offset ");
}
