#include "data/shard.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "data/image_path.h"

namespace beit {
namespace {

constexpr int64_t kLongestClass = 64;       // bytes of a .cls member
constexpr int64_t kLongestJson = 16 << 20;  // bytes
constexpr std::string_view kBlanks("\0 \t\r\n", 5);

struct Parts {
  std::string_view key, ending;  ///< the ending without its dot; empty for hidden files
};

Parts split(std::string_view name) {
  const auto base = base_name(name);
  const auto dot = base.find('.');
  if (dot == std::string_view::npos || dot == 0) return {};
  const size_t folders = name.size() - base.size();
  return {name.substr(0, folders + dot), base.substr(dot + 1)};
}

std::string text_of(const TarFile& archive, const TarMember& member) {
  const auto bytes = archive.read(member.offset, member.size);
  return {bytes.begin(), bytes.end()};
}

std::string place_of(const TarFile& archive, const TarMember& member) {
  return fmt::format("{}/{} at offset {}", archive.name(), member.name, member.offset);
}

Label read_cls(const TarFile& archive, const TarMember& member) {
  const std::string where = place_of(archive, member);
  require(member.size <= kLongestClass, "{}: expected a class as a number, got {} bytes", where, member.size);
  std::string text = text_of(archive, member);
  text.erase(0, std::min(text.find_first_not_of(kBlanks), text.size()));
  text.erase(text.find_last_not_of(kBlanks) + 1);
  Label label = parse_label(text, where);
  require(!text.empty() && !label.is_name(), "{}: expected a class as a number from 0, got '{}'", where, text);
  return label;
}

// None where the object has no class.
Label read_json_label(const TarFile& archive, const TarMember& member) {
  const std::string where = place_of(archive, member);
  require(member.size <= kLongestJson, "{}: expected JSON of at most {} bytes, got {}", where, kLongestJson,
          member.size);
  // What else an object says may be long; it is not kept.
  const auto keep = [](int depth, nlohmann::json::parse_event_t event, const nlohmann::json& parsed) {
    return depth == 0 || event != nlohmann::json::parse_event_t::key || parsed == "label" || parsed == "cls";
  };
  const auto json = nlohmann::json::parse(text_of(archive, member), keep, /*allow_exceptions=*/false);
  require(!json.is_discarded(), "{}: expected JSON, got other bytes", where);
  for (const char* field : {"label", "cls"}) {
    if (!json.is_object() || !json.contains(field) || json[field].is_null()) continue;
    const auto& value = json[field];
    if (value.is_string()) return parse_label(value.get<std::string>(), where);
    const bool fits = value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
    require(fits, "{}: expected {} as a whole number or a name, got {}", where, field,
            value.is_number() ? value.dump() : value.type_name());
    return number_label(value.get<int64_t>(), where);
  }
  return {};
}

}  // namespace

ShardImages list_shard(const TarFile& archive) {
  const auto members = archive.members();
  // By key; the views point into `members`.
  std::unordered_map<std::string_view, const TarMember*> classes, objects;
  std::unordered_map<std::string_view, size_t> images;
  ShardImages named{.images = {}, .labelled = true};
  const TarMember* second_image = nullptr;
  for (const auto& member : members) {
    const auto [key, ending] = split(without_dot_slash(member.name));
    const std::string kind = lower_case(ending);
    if (kind == "cls") {
      const auto [before, is_new] = classes.try_emplace(key, &member);
      require(is_new, "{}: expected one class for a key, got another at offset {}", place_of(archive, member),
              before->second->offset);
    } else if (kind == "json") {
      objects.try_emplace(key, &member);
    } else if (is_image_ending(kind)) {
      if (!images.try_emplace(key, named.images.size()).second) second_image = &member;
      named.images.push_back({.name = member.name, .offset = member.offset, .size = member.size});
    }
  }
  bool labelled = false;
  for (auto& [key, place] : images) {
    Label& label = named.images[place].label;
    if (const auto found = classes.find(key); found != classes.end()) {
      label = read_cls(archive, *found->second);
      labelled = true;
    } else if (const auto object = objects.find(key); classes.empty() && object != objects.end()) {
      label = read_json_label(archive, *object->second);
      labelled = labelled || label.is_number() || label.is_name();
    }
  }
  if (labelled) {
    require(second_image == nullptr, "{}: expected one image for a key, got a second one; give each a key of its own",
            second_image == nullptr ? "" : place_of(archive, *second_image));
    return named;
  }
  require(classes.empty(),
          "{}: expected an image of the key of this class, got none in the archive; a key ends before "
          "the first dot of a name: name it KEY.jpg",
          classes.empty() ? "" : place_of(archive, *classes.begin()->second));
  ShardImages plain;
  for (const auto& member : members) {
    if (!is_image_path(without_dot_slash(member.name))) continue;
    plain.images.push_back({.name = member.name, .offset = member.offset, .size = member.size});
  }
  return plain;
}

}  // namespace beit
