// Files as torch.save() writes them, put together by hand to lie about one thing.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/io/files.h"

namespace beit {

inline std::string text(const std::string& value) { return "X" + raw(static_cast<uint32_t>(value.size())) + value; }

inline std::string number(int64_t value) { return "\x8a\x08" + raw(value); }

inline std::string tuple(const std::vector<int64_t>& values) {
  std::string bytes = "(";
  for (const int64_t value : values) bytes += number(value);
  return bytes + "t";
}

inline std::string pickle(const std::string& body) { return "\x80\x02" + body + "."; }

inline std::string storage(const std::string& key, int64_t elements, const std::string& type = "FloatStorage") {
  return "(" + text("storage") + "ctorch\n" + type + "\n" + text(key) + text("cpu") + number(elements) + "NtQ";
}

inline std::string tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& sizes,
                          const std::vector<int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + tuple(sizes) + tuple(strides) +
         "\x89"
         "ccollections\nOrderedDict\n)RtR";
}

inline std::string dict(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string bytes = "}(";
  for (const auto& [key, value] : members) bytes += text(key) + value;
  return bytes + "u";
}

inline std::string list(const std::vector<std::string>& items) {
  std::string bytes = "](";
  for (const auto& item : items) bytes += item;
  return bytes + "e";
}

inline const std::string kMagic = pickle("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
inline const std::string kProtocol = pickle("M\xe9\x03");
inline const std::string kSystem = pickle(dict({{"little_endian", "\x88"}}));

/// A whole file: the object, the keys of the storages, and these as they lie in the file.
inline std::string file(const std::string& object, const std::vector<std::string>& keys, const std::string& data) {
  std::vector<std::string> key_texts;
  for (const auto& key : keys) key_texts.push_back(text(key));
  return kMagic + kProtocol + kSystem + pickle(object) + pickle(list(key_texts)) + data;
}

inline const std::string kFour = raw(int64_t{4}) + raw(1.F) + raw(2.F) + raw(3.F) + raw(4.F);

/// A file of one tensor `a` over a storage of four numbers.
inline std::string one(const std::string& tensor) { return file(dict({{"a", tensor}}), {"0"}, kFour); }

}  // namespace beit
