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

}  // namespace

Json read_json_object(std::string_view text, uint64_t offset, int levels, const std::string& where,
                      std::string_view remedy, Allowance& allowance) {
  const auto take = [&](uint64_t bytes) {
    require(allowance.take(bytes), "{}: expected JSON that fits the file's size and 56 MiB, got more; {}", where,
            remedy);
  };
  take(kParserCopies * text.size());
  std::vector<std::set<std::string>> seen(static_cast<size_t>(levels));  // keys of the objects that are open
  const auto check = [&](int depth, Json::parse_event_t event, const Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      take(kPartBytes);
      require(depth < levels, "{}: expected at most {} levels, got more; {}", where, levels, remedy);
      seen[static_cast<size_t>(depth)].clear();
    } else if (event == Event::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      take(kKeyBytes + 2 * key.size());
      require(seen[static_cast<size_t>(depth - 1)].insert(key).second, "{}: expected each key once, got {} twice; {}",
              where, printable(key), remedy);
    } else if (event == Event::value) {
      take(kPartBytes + (parsed.is_string() ? parsed.get_ref<const std::string&>().size() : 0));
    }
    return true;
  };
  try {
    Json object = Json::parse(text, check);
    require(object.is_object(), "{}: expected a JSON object, got a JSON {}; {}", where, object.type_name(), remedy);
    return object;
  } catch (const Json::parse_error& error) {
    fail("{}: expected JSON, got a syntax error at offset {}; {}", where, offset + error.byte - 1, remedy);
  } catch (const Json::exception&) {
    fail("{}: expected JSON, got a number out of range; {}", where, remedy);
  }
}

}  // namespace beit
