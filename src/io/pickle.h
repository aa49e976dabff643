// Python's pickle as data: a bounded reader that never imports, calls or builds anything.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string_view>
#include <vector>

namespace beit {

/// One value of a pickle. Which members count depends on the kind.
struct PickleValue {
  enum class Kind {
    kNone,
    kBool,        ///< integer: 0 or 1
    kInteger,     ///< integer
    kBigInteger,  ///< text: little-endian two's complement, more than 8 bytes
    kReal,        ///< real
    kText,        ///< text: a string, or bytes
    kTuple,       ///< items
    kList,        ///< items
    kDict,        ///< items: key, value, key, value, ...; also what an OrderedDict reads as
    kGlobal,      ///< text: "module.name", one of the known ones
    kCall,        ///< items: the global and its arguments (a tuple), recorded and not called
    kPersistent,  ///< items: the identifier of an object stored outside of the pickle
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0;
  std::string_view text = {};
  std::vector<const PickleValue*> items = {};
  int64_t offset = 0;  ///< of the value's opcode in the file
};

/// One pickle's values, which refer to one another and to the bytes read. Values may be shared and may contain
/// themselves: whoever walks from the root bounds depth and steps; all values stand in `values` in the file's order.
struct Pickle {
  std::deque<PickleValue> values;
  const PickleValue* root = nullptr;
  int64_t end = 0;  ///< offset after the pickle
};

/// Reads the pickle that begins at offset `begin` of `bytes`, which must outlive the result. Binary protocols 2 to 5,
/// the opcodes that tensors, containers and plain values need. Work and memory are bounded by the file's size and by
/// kPickleSteps. Error, which names `file` and the offset: another opcode, a global that is neither
/// collections.OrderedDict nor in `known_globals`, a pickle that ends early or contradicts itself.
Pickle read_pickle(std::span<const uint8_t> bytes, int64_t begin, std::string_view file,
                   std::span<const std::string_view> known_globals = {});

/// Opcodes and copied items in one pickle; a state dict of a thousand tensors needs 50,000.
inline constexpr int64_t kPickleSteps = int64_t{1} << 22;

}  // namespace beit
