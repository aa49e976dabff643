#include "io/bounded_json.h"

#include <set>
#include <vector>

#include "base/error.h"
#include "io/mapped_file.h"

namespace beit {
namespace {

using Json = nlohmann::json;

// What values and keys cost, at most, their letters aside: nodes of maps, here and in the result, and strings.
constexpr uint64_t kKeyBytes = 256, kPartBytes = 96;
// The parser gathers each string in one that grows by doubling.
constexpr uint64_t kParserCopies = 3;

/// Reads without keeping anything but the keys of the objects that are open.
class Checker final : public nlohmann::json_sax<Json> {
 public:
  Checker(uint64_t offset, int levels, const std::string& where, std::string_view remedy, Allowance& allowance)
      : offset_(offset), levels_(static_cast<size_t>(levels)), where_(where), remedy_(remedy), allowance_(allowance) {}

  bool null() override { return take(kPartBytes); }
  bool boolean(bool) override { return take(kPartBytes); }
  bool number_integer(int64_t) override { return take(kPartBytes); }
  bool number_unsigned(uint64_t) override { return take(kPartBytes); }
  bool number_float(double, const std::string&) override { return take(kPartBytes); }
  bool string(std::string& text) override { return take(kPartBytes + text.size()); }
  bool binary(Json::binary_t&) override { return true; }  // not in a text
  bool start_object(size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    require(keys_.back().insert(name).second, "{}: expected each key once, got {} twice; {}", where_, printable(name),
            remedy_);
    return take(kKeyBytes + 2 * name.size());
  }

  bool parse_error(size_t position, const std::string&, const Json::exception& error) override {
    constexpr int kOutOfRange = 406;
    if (error.id == kOutOfRange) fail("{}: expected JSON, got a number out of range; {}", where_, remedy_);
    fail("{}: expected JSON, got a syntax error at offset {}; {}", where_, offset_ + position - 1, remedy_);
  }

 private:
  bool take(uint64_t bytes) {
    require(allowance_.take(bytes), "{}: expected JSON that fits the file's size and 56 MiB, got more; {}", where_,
            remedy_);
    return true;
  }

  bool open() {
    require(keys_.size() < levels_, "{}: expected at most {} levels, got more; {}", where_, levels_, remedy_);
    keys_.emplace_back();
    return take(kPartBytes);
  }

  bool close() {
    keys_.pop_back();
    return true;
  }

  uint64_t offset_;
  size_t levels_;
  const std::string& where_;
  std::string_view remedy_;
  Allowance& allowance_;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

Json read_json_object(std::string_view text, uint64_t offset, int levels, const std::string& where,
                      std::string_view remedy, Allowance& allowance) {
  require(allowance.take(kParserCopies * text.size()),
          "{}: expected JSON that fits the file's size and 56 MiB, got more; {}", where, remedy);
  Checker checker(offset, levels, where, remedy, allowance);
  Json::sax_parse(text, &checker);
  Json object = Json::parse(text);
  require(object.is_object(), "{}: expected a JSON object, got a JSON {}; {}", where, object.type_name(), remedy);
  return object;
}

}  // namespace beit
