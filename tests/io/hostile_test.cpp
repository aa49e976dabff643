// Files made to cost far more than they weigh, to lie, or to end early.
#include <doctest/doctest.h>
#include <malloc.h>

#include "base/error.h"
#include "io/pth.h"
#include "io/weights.h"
#include "tests/io/pth_files.h"
#include "tests/io/zip_files.h"
#include "tests/support.h"

using namespace beit;
using namespace std::string_literals;

namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

/// A line of /proc/self/status, in bytes.
int64_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stoll(line.substr(field.size() + 1)) * 1024;
  }
  return 0;
}

/// By how much this process grows at most while it works.
template <class Work>
int64_t peak_growth(const Work& work) {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;  // the peak begins anew
  const int64_t start = status_bytes("VmRSS");
  work();
  return status_bytes("VmHWM") - start;
}

std::string repeated(const std::string& unit, size_t count) {
  std::string text;
  text.reserve(unit.size() * count);
  for (size_t i = 0; i < count; ++i) text += unit;
  return text;
}

std::string archive(const std::string& object, const std::vector<ZipPart>& more = {}) {
  std::vector<ZipPart> parts{{"a/data.pkl", pickle(object)}};
  parts.insert(parts.end(), more.begin(), more.end());
  return zip_file(parts);
}

const std::string kData = raw(1.F) + raw(2.F) + raw(3.F) + raw(4.F);

/// Lists of lists, each of ten times the same, down to `value`.
std::string laughs(const std::string& value) {
  std::string body = value +
                     "q\x01"
                     "0";
  for (char level = 1; level < 20; ++level) {
    body += "](" + repeated("h"s + level, 10) + "eq"s + static_cast<char>(level + 1) + "0";
  }
  return body + dict({{"a", "h\x14"}});
}

}  // namespace

TEST_CASE("hostile: no file costs more memory than its size and 64 MiB") {
#ifdef __SANITIZE_ADDRESS__
  MESSAGE("skipped: a sanitizer's own memory would count");
  return;
#endif
  const int64_t seen = peak_growth([] { CHECK(std::string(100 * kMiB, 'x').back() == 'x'); });
  if (seen < 90 * kMiB) {  // the kernel counts in batches
    MESSAGE("skipped: this system does not tell a process's peak of memory");
    return;
  }
  const auto a = tensor(storage("0", 4), 0, {4}, {1});
  std::string names, tensors = a +
                               "q\x01"
                               "0}(";
  for (int i = 0; i < 400'000; ++i) {
    names += "U\x04" + raw(i) + "U\x01x";
    tensors += "U\x04" + raw(i) + "h\x01";
  }
  std::vector<ZipPart> members;
  for (int i = 0; i < 65'000; ++i) members.push_back({raw(i), ""});
  std::string header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1", keys = "{\"\":{}";
  for (int i = 0; i < 1'000'000; ++i) {
    header += ",1";
    keys += fmt::format(",\"{}\":{{}}", i);
  }
  const auto safetensors = [](const std::string& text) { return raw(uint64_t{text.size()}) + text; };
  const std::vector<std::pair<std::string, std::string>> files{
      {"values", archive(repeated("N", 8 * kMiB))},
      {"marks", archive(repeated("(", 8 * kMiB))},
      {"lists of nothing", archive(repeated("]", 8 * kMiB))},
      {"tuples in tuples", archive("N" + repeated("\x85", 8 * kMiB))},
      {"memory", archive("N" + repeated("\x94", 8 * kMiB))},
      {"copies", archive("N" + repeated("2", 8 * kMiB))},
      {"globals", archive(repeated("cm\nn\n0", 2 * kMiB))},
      {"appended", archive("]N(" + repeated("2", 4 * kMiB) + "e")},
      {"laughter", archive(laughs("}"))},
      {"laughter of tensors", archive(laughs(a), {{"a/data/0", kData}})},
      {"laughter of texts", archive(laughs("X" + raw(uint32_t{100'000}) + std::string(100'000, 't')))},
      {"names", archive("}(" + names + "u")},
      {"tensors", archive(tensors + "u", {{"a/data/0", kData}})},
      {"tensors, legacy", file(tensors + "u", {"0"}, kFour)},
      {"members", zip_file(members, {.aligned = false})},
      {"a shape", safetensors(header + "]}}")},
      {"keys", safetensors(keys + "}")},
      {"a text", safetensors("{\"__metadata__\":{\"k\":\"" + std::string(48 * kMiB, 'v') + "\"}}")},
      {"bools", file(dict({{"a", tensor(storage("0", 32 * kMiB, "BoolStorage"), 0, {32 * kMiB}, {1})}}), {"0"},
                     raw(32 * kMiB) + std::string(32 * kMiB, '\1'))}};
  const TemporaryFolder folder;
  for (const auto& [name, bytes] : files) {
    CAPTURE(name);
    const auto path = folder.path / "hostile";
    put_file(path, bytes);
    const int64_t growth = peak_growth([&] {
      try {
        read_weights(path);
      } catch (const Error&) {
      }
    });
    // The pages of the file that were read are resident, too.
    CHECK(growth <= 2 * std::ssize(bytes) + 64 * kMiB);
  }
}

TEST_CASE("hostile: a PyTorch file cut anywhere is refused") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.pth";
  const auto check = [&](const std::string& whole, size_t step) {
    for (size_t bytes = 0; bytes < whole.size(); bytes += step) {
      put_file(path, whole.substr(0, bytes));
      CHECK_THROWS_WITH_AS_MESSAGE(read_weights(path), doctest::Contains(path.c_str()), Error, bytes);
    }
  };
  check(file_bytes(golden("objects.pth")), 1);
  check(file_bytes(golden("script.pt")), 1);
  const int64_t many = 200'000;
  const auto large = tensor(storage("0", many), 0, {many}, {1});
  const std::string data = repeated(raw(1.F), static_cast<size_t>(many));
  check(archive(dict({{"a", large}}), {{"a/data/0", data}}), 4096);
  check(file(dict({{"a", large}}), {"0"}, raw(many) + data), 4096);
  write_safetensors(path, {{"a", torch::ones(many)}});
  check(file_bytes(path), 4096);
}

TEST_CASE("hostile: whatever a byte of an archive is changed to, it is read or refused") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a.pth";
  for (const char* name : {"objects.pth", "script.pt"}) {
    const auto whole = file_bytes(golden(name));
    int refused = 0;
    for (size_t at = 0; at < whole.size(); ++at) {
      auto changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ (at % 2 == 0 ? 0x01 : 0xff));
      put_file(path, changed);
      try {
        for (const auto& [tensor_name, tensor] : read_pth(path).tensors) CHECK(tensor.nbytes() <= whole.size());
      } catch (const Error&) {
        ++refused;
      }
    }
    CHECK(refused > 500);
  }
}

TEST_CASE("hostile: storages of the zip form that lie are refused") {
  const auto check = [](const std::string& object, const std::vector<ZipPart>& more, const char* part) {
    const TemporaryFolder folder;
    const auto path = folder.path / "a.pth";
    put_file(path, archive(object, more));
    CHECK_THROWS_WITH_AS(read_pth(path), doctest::Contains(part), Error);
  };
  const auto a = [](int64_t elements, const std::string& type = "FloatStorage") {
    return dict({{"a", tensor(storage("0", elements, type), 0, {1}, {1})}});
  };
  const ZipPart data{"a/data/0", kData};
  check(a(5), {data}, "expected 5 elements of 4 bytes at offset ");
  check(a(4, "DoubleStorage"), {data}, "expected 4 elements of 8 bytes at offset ");
  check(a(INT64_MAX), {data}, "expected 9223372036854775807 elements of 4 bytes");
  check(a(4, "QInt8Storage"), {data}, "expected a storage type that LibTorch has, got \"torch.QInt8Storage\"");
  check(a(4), {{.name = "a/data/0", .data = kData, .method = 8}}, "expected a member that is stored as it is");
  check(a(4), {{.name = "a/data/0", .data = kData, .method = 8, .unpacked = uint64_t{1} << 31}}, "got a compressed");
  check(a(4), {data, data}, "\"a/data/0\": expected each name once");
  check(a(4), {{.name = "a/data/0", .data = kData, .size = uint64_t{1} << 30}}, "expected its 1073741824 bytes before");
  check(dict({{"a", tensor(storage("0", 4), 0, {1}, {1})}, {"b", tensor(storage("0", 2), 0, {1}, {1})}}), {data},
        "storage \"0\": expected one type and size, got two at offset ");
  check(dict({{"a", tensor(storage("0", 4), 2, {2, 2}, {1, 1})}}), {data}, "expected elements within a storage of 4");
  const auto untyped = [](const std::string& dtype, int64_t bytes) {
    return dict({{"a", "ctorch._utils\n_rebuild_tensor_v3\n((" + text("storage") + "ctorch.storage\nUntypedStorage\n" +
                           text("0") + text("cpu") + number(bytes) + "tQ" + number(0) + tuple({1}) + tuple({1}) +
                           "\x89)ctorch\n" + dtype + "\ntR"}});
  };
  check(untyped("uint64", 12), {data}, "expected a storage of whole elements, got 12 of 8 bytes");
  check(untyped("bits8", 16), {data}, "expected a dtype that LibTorch has, got \"torch.bits8\"");
  check("}q\x01(" + text("a") + "h\x01u", {}, "expected at most 32 levels");
}
