#include "data/shard.h"

#include <doctest/doctest.h>

#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

using Member = std::pair<std::string, std::string>;

// An archive of members with these names and bytes.
class Shard {
 public:
  ShardImages list(const std::vector<Member>& members) const {
    std::vector<std::vector<uint8_t>> blocks;
    for (const auto& [name, text] : members) {
      blocks.push_back(tar_member(name, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
    }
    write_bytes(folder_.path / "a.tar", tar(blocks));
    return list_shard(TarFile(folder_.path / "a.tar"));
  }
  // Names and labels in one text each.
  std::vector<std::string> labelled(const std::vector<Member>& members) const {
    const auto shard = list(members);
    CHECK(shard.labelled);
    std::vector<std::string> texts;
    for (const auto& [name, label, offset, size, crc32] : shard.images) {
      texts.push_back(name + " " + (label.is_name() ? label.name : std::to_string(label.number)));
    }
    return texts;
  }
  std::string error(const std::vector<Member>& members) const {
    return error_of([&] { list(members); });
  }

 private:
  TemporaryFolder folder_;
};

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("shard: a key's class is that of its .cls, in any order; without one it has none") {
  const Shard shard;
  CHECK(shard.labelled({{"a.jpg", "x"},
                        {"a.cls", "3"},
                        {"b.cls", " 12\n"},
                        {"b.PNG", "x"},
                        {"c.webp", "x"},
                        {"d.cls", "5"},
                        {"e.jpg", "x"},
                        {"e.cls", "-1"},
                        {"e.txt", "words"}}) == Texts{"a.jpg 3", "b.PNG 12", "c.webp -1", "e.jpg -1"});
}

TEST_CASE("shard: a key holds its folders and ends at the first dot of the last name") {
  const Shard shard;
  CHECK(shard.labelled({{"./v1.0/a.jpg", "x"},
                        {"v1.0/a.cls", "1"},
                        {"v2.0/a.jpg", "x"},
                        {"v2.0/a.cls", "2"},
                        {"v2.0/a.mask.png", "x"},
                        {".hidden.jpg", "x"}}) == Texts{"./v1.0/a.jpg 1", "v2.0/a.jpg 2"});
}

TEST_CASE("shard: a class in .json is a number or a name, under label or cls") {
  const Shard shard;
  CHECK(shard.labelled({{"a.jpg", "x"},
                        {"a.json", R"({"label": 4, "cls": 5})"},
                        {"b.jpg", "x"},
                        {"b.json", R"({"boxes": [[1, {"label": 9}]], "cls": 6, "url": "u"})"},
                        {"c.jpg", "x"},
                        {"c.json", R"({"caption": "c"})"},
                        {"d.jpg", "x"},
                        {"d.json", R"({"label": null, "cls": "7"})"}}) ==
        Texts{"a.jpg 4", "b.jpg 6", "c.jpg -1", "d.jpg 7"});
  CHECK(shard.labelled({{"a.jpg", "x"}, {"a.json", R"({"label": "golden retriever"})"}}) ==
        Texts{"a.jpg golden retriever"});
  // .cls comes first, and then no .json is read.
  CHECK(shard.labelled({{"a.jpg", "x"}, {"a.json", "broken"}, {"a.cls", "8"}}) == Texts{"a.jpg 8"});
}

TEST_CASE("shard: an archive without such classes is one of folders or loose images") {
  const Shard shard;
  const auto folders =
      shard.list({{"cat/a.b.jpg", "x"}, {"dog/a.jpg", "x"}, {"dog/a.json", R"({"url": "u"})"}, {"dog/a.png", "x"}});
  CHECK(!folders.labelled);
  REQUIRE(folders.images.size() == 3);
  CHECK(folders.images[0].name == "cat/a.b.jpg");
  CHECK(shard.list({}).images.empty());
}

TEST_CASE("shard: what is no class, and a key that comes twice, is refused with archive, member and offset") {
  const Shard shard;
  const auto refused = [&](const std::vector<Member>& members, const std::string& message) {
    const auto error = shard.error(members);
    CAPTURE(error);
    CHECK(contains(error, message));
    CHECK(contains(error, "a.tar/"));
    CHECK(contains(error, "at offset "));
  };
  refused({{"a.jpg", "x"}, {"a.cls", "cat"}}, "a.cls at offset 1536: expected a class as a number from 0, got 'cat'");
  refused({{"0.left.jpg", "x"}, {"0.right.jpg", "x"}, {"0.cls", "1"}}, "expected an image of the key of this class");
  refused({{"a.jpg", "x"}, {"a.cls", ""}}, "expected a class as a number from 0, got ''");
  refused({{"a.jpg", "x"}, {"a.cls", "1.5"}}, "got '1.5'");
  refused({{"a.jpg", "x"}, {"a.cls", "-3"}}, "expected a class from 0 to 999999");
  refused({{"a.jpg", "x"}, {"a.cls", "123456789012345678901234567890"}}, "expected a class from 0 to 999999");
  refused({{"a.jpg", "x"}, {"a.cls", std::string(65, '1')}}, "expected a class as a number, got 65 bytes");
  refused({{"a.jpg", "x"}, {"a.json", "{"}}, "a.json at offset 1536: expected JSON");
  refused({{"a.jpg", "x"}, {"a.json", std::string(100000, '[')}}, "expected JSON");
  refused({{"a.jpg", "x"}, {"a.json", R"({"label": 1.5})"}}, "expected label as a whole number or a name, got 1.5");
  refused({{"a.jpg", "x"}, {"a.json", R"({"cls": [1]})"}}, "expected cls as a whole number or a name, got array");
  refused({{"a.jpg", "x"}, {"a.json", R"({"cls": 18446744073709551615})"}}, "expected cls as a whole number");
  const std::string deep = std::string(1000000, '[') + std::string(1000000, ']');
  refused({{"a.jpg", "x"}, {"a.json", R"({"label": )" + deep + "}"}}, "expected label as a whole number or a name");
  refused({{"a.jpg", "x"}, {"a.json", R"({"cls": 1000000})"}}, "expected a class from 0 to 999999");
  refused({{"a.jpg", "x"}, {"a.png", "x"}, {"a.cls", "1"}}, "a.png at offset 1536: expected one image for a key");
  refused({{"a.jpg", "x"}, {"a.cls", "1"}, {"a.cls", "1"}}, "expected one class for a key");
}
