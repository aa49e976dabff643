#include "io/pickle.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "tests/io/files.h"

using namespace beit;

namespace {

using Kind = PickleValue::Kind;
using namespace std::string_literals;

Pickle read(const std::string& bytes, int64_t begin = 0) {
  Allowance allowance(bytes.size());
  return read_pickle({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, begin, "f.pth", allowance);
}

/// The bytes between the protocol and the end.
Pickle read_body(const std::string& body) {
  // The values refer to the bytes: keep them.
  static std::string bytes;
  bytes = "\x80\x02" + body + ".";
  return read(bytes);
}

void check_refused(const std::string& bytes, const std::string& part) {
  check_refusal([&] { read(bytes); }, "f.pth: pickle: ", part);
}

void check_body_refused(const std::string& body, const std::string& part) {
  check_refused("\x80\x02" + body + ".", part);
}

}  // namespace

TEST_CASE("pickle: plain values are read from every form that Python writes them in") {
  const auto integer = [](const std::string& body) {
    const auto pickle = read_body(body);
    CHECK((pickle.root->kind == Kind::kInteger));
    return pickle.root->integer;
  };
  CHECK(integer("K\xff") == 255);
  CHECK(integer("M\xff\xff") == 65535);
  CHECK(integer("J\xfe\xff\xff\xff") == -2);
  CHECK(integer("\x8a\x00"s) == 0);
  CHECK(integer("\x8a\x01\x80") == -128);
  CHECK(integer("\x8a\x02\x80\x00"s) == 128);
  CHECK(integer("\x8a\x08" + raw(INT64_MIN)) == INT64_MIN);
  CHECK(integer("\x8b" + raw(uint32_t{8}) + raw(INT64_MAX)) == INT64_MAX);

  CHECK(integer("I-12345678901\n") == -12345678901);
  CHECK((read_body("I01\n").root->kind == Kind::kBool));
  CHECK(read_body("I01\n").root->integer == 1);
  CHECK(read_body("I00\n").root->integer == 0);

  const auto text = [](const std::string& body, Kind kind) {
    const auto pickle = read_body(body);
    CHECK((pickle.root->kind == kind));
    return std::string(pickle.root->text);
  };
  for (const char* opcode : {"U", "\x8c"}) CHECK(text(opcode + "\x03"s + "a\nb", Kind::kText) == "a\nb");
  for (const char* opcode : {"T", "X"}) CHECK(text(opcode + raw(uint32_t{2}) + "ab", Kind::kText) == "ab");
  CHECK(text("\x8d" + raw(uint64_t{2}) + "ab", Kind::kText) == "ab");
  CHECK(text("C\x02" + "ab"s, Kind::kBytes) == "ab");
  CHECK(text("B" + raw(uint32_t{2}) + "ab", Kind::kBytes) == "ab");
  for (const char* opcode : {"\x8e", "\x96"}) CHECK(text(opcode + raw(uint64_t{2}) + "ab", Kind::kBytes) == "ab");

  CHECK((read_body("N").root->kind == Kind::kNone));
  CHECK(read_body("\x88").root->integer == 1);
  CHECK(read_body("\x89").root->integer == 0);
  CHECK(read_body("G\xc0\x04\x00\x00\x00\x00\x00\x00"s).root->real == -2.5);
  const auto big = read_body("\x8a\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09");
  CHECK((big.root->kind == Kind::kBigInteger));
  CHECK(big.root->text.size() == 9);
}

TEST_CASE("pickle: containers hold their items in order") {
  CHECK(read_body(")").root->items.empty());
  CHECK(read_body("K\x01K\x02\x86").root->items[1]->integer == 2);
  CHECK(read_body("K\x01K\x02K\x03\x87").root->items.size() == 3);
  CHECK(read_body("(K\x01K\x02K\x03K\x04t").root->items[3]->integer == 4);
  const auto list = read_body(
      "]K\x01"
      "a(K\x02K\x03"
      "e");
  CHECK((list.root->kind == Kind::kList));
  REQUIRE(list.root->items.size() == 3);
  CHECK(list.root->items[2]->integer == 3);
  const auto dict = read_body(
      "}U\x01"
      "aK\x01s(U\x01"
      "bK\x02U\x01"
      "cK\x03u");
  CHECK((dict.root->kind == Kind::kDict));
  REQUIRE(dict.root->items.size() == 6);
  CHECK(dict.root->items[4]->text == "c");
  CHECK(dict.root->items[5]->integer == 3);
}

TEST_CASE("pickle: an OrderedDict reads as a dict, with its items before or after, without its attributes") {
  const std::string call = "ccollections\nOrderedDict\n";
  for (const std::string& body : {call + ")R(U\x01"
                                         "aK\x05u",
                                  call + "](]U\x01"
                                         "a"
                                         "aK\x05"
                                         "ae\x85R",
                                  call + ")RU\x01"
                                         "aK\x05s}U\x01zNsb"}) {
    // The second form: a list of pairs that are lists.
    const auto pickle = read_body(body);
    CHECK((pickle.root->kind == Kind::kDict));
    REQUIRE(pickle.root->items.size() == 2);
    CHECK(pickle.root->items[0]->text == "a");
    CHECK(pickle.root->items[1]->integer == 5);
  }
}

TEST_CASE("pickle: remembered values are the same value, and may contain themselves") {
  const auto pair = read_body("]q\x05h\x05\x86");
  CHECK(pair.root->items[0] == pair.root->items[1]);
  const auto numbered = read_body("]\x94K\x01\x94h\x00h\x01\x87"s);
  CHECK(numbered.root->items[1] == &numbered.values[0]);
}

TEST_CASE("pickle: sets are read from every form that Python writes them in") {
  for (const char* body : {"\x8f(K\x01K\x02\x90", "(K\x01K\x02\x91",
                           "cbuiltins\nset\n](K\x01K\x02"
                           "e\x85R",
                           "c__builtin__\nfrozenset\n](K\x01K\x02"
                           "e\x85R"}) {
    const auto pickle = read_body(body);
    CHECK((pickle.root->kind == Kind::kSet));
    REQUIRE(pickle.root->items.size() == 2);
    CHECK(pickle.root->items[1]->integer == 2);
  }
}

TEST_CASE("pickle: values are copied and dropped on the stack as Python does it") {
  CHECK(read_body("K\x07"
                  "2\x86")
            .root->items[1]
            ->integer == 7);
  CHECK(read_body("K\x07(K\x01K\x02"
                  "1")
            .root->integer == 7);
}

TEST_CASE("pickle: a call is recorded and not made") {
  const auto pickle = read_body("ctorch._utils\n_rebuild_tensor_v2\nK\x07\x85R");
  CHECK(pickle.root->made_by("torch._utils._rebuild_tensor_v2"));
  CHECK(pickle.root->items[1]->items[0]->integer == 7);
  CHECK((read_body("U\x01xQ").root->kind == Kind::kPersistent));
  CHECK(read_body("\x8c\x05torch\x8c\x0c"
                  "FloatStorage\x93")
            .root->text == "torch.FloatStorage");
}

TEST_CASE("pickle: objects of any class are recorded: class, arguments and state, but not what is put into them") {
  const std::string made = "cmodels.vit\nThing\n";
  for (const std::string& body :
       {made + "K\x05\x85R", made + "K\x05\x85\x81", made + "K\x05\x85}\x92", "(" + made + "K\x05o"}) {
    CAPTURE(body);
    const auto pickle = read_body(body +
                                  "}U\x01xK\x07sbK\x01"
                                  "a(K\x02"
                                  "e(NNu");
    CHECK(pickle.root->made_by("models.vit.Thing"));
    REQUIRE(pickle.root->items.size() == 3);
    CHECK(pickle.root->items[1]->items[0]->integer == 5);
    CHECK(pickle.root->items[2]->items[1]->integer == 7);
  }
  CHECK(read_body(made + ")\x81NbK\x07"
                         "b")
            .root->items[2]
            ->integer == 7);                                                   // the last state counts
  CHECK((read_body(made + ")\x81)R").root->items[0]->kind == Kind::kObject));  // a call of what a call made
}

TEST_CASE("pickle: a global that runs programs or code in Python is refused by name, and nothing runs") {
  const auto marker = std::filesystem::temp_directory_path() / "beit-test-pickle-ran";
  const std::string argument = "touch " + marker.string();
  check_body_refused("cposix\nsystem\nX" + raw(static_cast<uint32_t>(argument.size())) + argument + "\x85R",
                     "got \"posix.system\" at offset 2, which runs programs or code");
  CHECK_FALSE(std::filesystem::exists(marker));
  for (const auto& [module, name] :
       std::vector<std::pair<std::string, std::string>>{{"os", "system"},
                                                        {"nt", "system"},
                                                        {"subprocess", "Popen"},
                                                        {"sys", "modules"},
                                                        {"shutil", "rmtree"},
                                                        {"socket", "socket"},
                                                        {"pty", "spawn"},
                                                        {"runpy", "run_path"},
                                                        {"importlib", "import_module"},
                                                        {"importlib.util", "find_spec"},
                                                        {"ctypes", "CDLL"},
                                                        {"marshal", "loads"},
                                                        {"pickle", "loads"},
                                                        {"_pickle", "loads"},
                                                        {"code", "interact"},
                                                        {"webbrowser", "open"},
                                                        {"commands", "getoutput"},
                                                        {"multiprocessing.util", "spawnv_passfds"},
                                                        {"builtins", "eval"},
                                                        {"builtins", "exec"},
                                                        {"builtins", "getattr"},
                                                        {"builtins", "__import__"},
                                                        {"__builtin__", "compile"},
                                                        {"builtins", "str.format"},
                                                        {"torch.hub", "load"},
                                                        {"torch", "load"},
                                                        {"io", "open"},
                                                        {"torch", "serialization.os.system"},
                                                        {"numpy", "f2py.x"},
                                                        {"models", "Thing.__init__.__globals__"}}) {
    const auto full = "got \"" + module + "." + name + "\" at offset ";
    check_body_refused("c" + module + "\n" + name + "\n", full);
    const auto text = [](const std::string& value) {
      return "\x8c" + std::string(1, static_cast<char>(value.size())) + value;
    };
    check_body_refused(text(module) + text(name) + "\x93", full);
  }
  for (const auto* harmless : {"cbuiltins\nset\n", "c__builtin__\nlong\n", "cosmos\nsystem\n", "ctorch\nloader\n",
                               "cpathlib\nPosixPath\n", "cargparse\nNamespace\n", "cmodels.os\nsystem\n"}) {
    CHECK((read_body(harmless).root->kind == Kind::kGlobal));
  }
}

TEST_CASE("pickle: opcodes that Python does not write into a binary file are refused") {
  // INST, EXT1, PERSID, FLOAT, STRING, UNICODE, LONG, GET, PUT, NEXT_BUFFER, none.
  for (const char* opcode : {"i", "\x82", "P", "F", "S", "V", "L", "g", "p", "\x97", "\xff"}) {
    check_body_refused("("s + opcode, "expected an opcode of binary pickles, got 0x");
  }
  for (const char* body : {"I1", "I\n", "Ix\n", "I1x\n", "I99999999999999999999\n"}) {
    CHECK_THROWS_AS_MESSAGE(read_body(body), Error, body);
  }
}

TEST_CASE("pickle: what is no binary pickle of a known protocol is refused at its offset") {
  check_refused("", "expected a binary pickle, got other bytes at offset 0");
  check_refused("(lp0\n.", "expected a binary pickle");
  check_refused("\x80", "expected 1 more bytes, got 0");
  check_refused("\x80\x01.", "expected pickle protocol 2 to 5, got 1");
  check_refused("\x80\x06N.", "expected pickle protocol 2 to 5, got 6");
  check_refused("\x80\x02.", "expected a value on the stack, got none at offset 2");
  CHECK_THROWS_AS(read("\x80\x02N.", 4), Error);
  CHECK_THROWS_AS(read("\x80\x02N.", 400), Error);
}

TEST_CASE("pickle: the next pickle begins where this one ends") {
  const std::string both = "\x80\x02K\x01.\x80\x02K\x02.";
  const auto first = read(both);
  CHECK(first.end == 5);
  const auto second = read(both, first.end);
  CHECK(second.root->integer == 2);
  CHECK(second.root->offset == 7);
  CHECK(second.end == 10);
}

TEST_CASE("pickle: opcodes without what they need are refused") {
  for (const char* body : {"2", "K\x01\x81", "NN\x92", "0", "\x85", "K\x01\x86", "a", "]a", "s", "}K\x01s", "R", "]R",
                           "b", "]b", "Q", "\x93", "q\x01"}) {
    check_body_refused(body, "on the stack, got ");
  }
  for (const char* body : {"t", "Ne", "Nu", "1", "o", "\x90", "\x91"})
    check_body_refused(body, "expected a mark on the stack");
  check_body_refused("N(0", "expected a value on the stack");       // not below the mark
  check_body_refused("NN(\x86", "expected 2 values on the stack");  // nor these
  check_body_refused("}(K\x01u", "got a key alone");
  check_body_refused("]K\x01K\x02s", "expected another kind of value, got that of offset 2");
  check_body_refused(
      "}K\x01"
      "a",
      "expected another kind of value");
  check_body_refused("(o", "expected a class, got none");
  check_body_refused("cm\nC\nN\x81", "expected another kind of value");
  check_body_refused("cm\nC\nNN\x92", "expected another kind of value");
  check_body_refused("](N\x90", "expected another kind of value");
  check_body_refused("ctorch\nFloatStorage\n]R", "expected another kind of value");
  check_body_refused("K\x01K\x02\x93", "expected another kind of value");
  check_body_refused("ccollections\nOrderedDict\nK\x01\x85R", "expected another kind of value");
  check_body_refused(
      "ccollections\nOrderedDict\n]K\x01"
      "a\x85R",
      "expected pairs for an OrderedDict");
  check_body_refused("h\x07", "got none as number 7");
  check_body_refused("j" + raw(uint32_t{1'000'000}), "got none as number 1000000");
}

TEST_CASE("pickle: lengths that the file does not have are refused before memory is taken") {
  check_body_refused("X" + raw(~uint32_t{0}) + "ab", "expected 4294967295 more bytes, got 3");
  check_body_refused("\x8d" + raw(~uint64_t{0}) + "ab", "expected 18446744073709551615 more bytes");
  check_body_refused("\x8b" + raw(~uint32_t{0}), "expected 4294967295 more bytes");
  check_body_refused("\x8a\xff", "expected 255 more bytes");
  check_body_refused("c" + std::string(1100, 'm') + "\nn\n", "expected a line of at most 1024 bytes");
  check_body_refused("\x8c\xff" + std::string(255, 'm') + "X" + raw(uint32_t{1100}) + std::string(1100, 'n') + "\x93",
                     "expected a shorter name");
}

TEST_CASE("pickle: values that cost far more than their bytes are refused") {
  const std::string part = "expected values that fit the file's size and 56 MiB, got more";
  for (const char* unit : {"N", "(", ")", "]",
                           "N\x94"
                           "0",
                           "(t", "\x8f"}) {
    std::string body;
    for (int i = 0; i < (6 << 20); ++i) body += unit;
    check_body_refused(body, part);
  }
  // Each OrderedDict copies the list of pairs.
  std::string body = "]q\x01(", copies;
  for (int i = 0; i < 3000; ++i) body += "NN\x86";
  body += "e";
  for (int i = 0; i < 3000; ++i) copies += "ccollections\nOrderedDict\nh\x01\x85R0";
  check_body_refused(body + copies, part);
}

TEST_CASE("pickle: one that ends early is refused wherever it ends") {
  const std::string whole = "\x80\x04\x95" + raw(uint64_t{40}) +
                            "}q\x00(U\x01"
                            "aK\x05U\x01"
                            "bccollections\nOrderedDict\n)RX"s +
                            raw(uint32_t{3}) + "xyzG" + raw(0.0) + "u.";
  CHECK_NOTHROW(read(whole));
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    CHECK_THROWS_AS_MESSAGE(read(whole.substr(0, bytes)), Error, bytes);
  }
}

TEST_CASE("pickle: any sequence of opcodes is read or refused") {
  const std::string opcodes = "(012N\x88\x89K]}atesu)\x85\x86\x87q\x94hRboQ\x81\x8f\x90\x91\x92\x93UI\x8c.";
  const std::string globals[] = {"ccollections\nOrderedDict\n", "ctorch\nFloatStorage\n"};
  Random random(1, 0, 0, Purpose::kOrder);
  int read_well = 0;
  for (int trial = 0; trial < 50'000; ++trial) {
    std::string bytes = "\x80\x02";
    for (int64_t i = random.integer(1, 30); i > 0; --i) {
      const auto at = static_cast<size_t>(random.integer(0, std::ssize(opcodes) + 2));
      bytes += at < opcodes.size() ? opcodes.substr(at, 1) : globals[at - opcodes.size()];
      if (random.integer(0, 4) == 0) bytes += static_cast<char>(random.integer(0, 4));
    }
    try {
      read(bytes + ".");
      ++read_well;
    } catch (const Error&) {
    }
  }
  CHECK(read_well > 100);
}
