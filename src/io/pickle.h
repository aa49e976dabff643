// Python's pickle as data: a bounded reader that never imports, calls or builds anything.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/allowance.h"

namespace beit {

/// One value of a pickle. Which members count depends on the kind.
struct PickleValue {
  enum class Kind {
    kNone,
    kBool,        ///< integer: 0 or 1
    kInteger,     ///< integer
    kBigInteger,  ///< text: little-endian two's complement, more than 8 bytes
    kReal,        ///< real
    kText,        ///< text
    kBytes,       ///< text
    kTuple,       ///< items
    kList,        ///< items
    kSet,         ///< items; frozen or not
    kDict,        ///< items: key, value, key, value, ...; also what an OrderedDict and a defaultdict read as
    kGlobal,      ///< text: "module.name" of a class or function
    kObject,      ///< items: the class or function, its arguments (a tuple) and, if it was given one, its state.
                  ///< Recorded only: nothing was called, and what else was put into it is left out
    kPersistent,  ///< items: the identifier of an object stored outside of the pickle
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0;
  std::string_view text = {};
  std::vector<const PickleValue*> items = {};
  int64_t offset = 0;  ///< of the value's opcode in the file

  /// Whether it is an object that the class or function of that name makes.
  bool made_by(std::string_view global) const {
    return kind == Kind::kObject && items[0]->kind == Kind::kGlobal && items[0]->text == global;
  }
};

/// One pickle's values, which refer to one another, to the names kept here and to the bytes read. Values may be shared
/// and may contain themselves: whoever walks from the root bounds depth and steps; all values stand in `values` in the
/// file's order.
struct Pickle {
  std::deque<PickleValue> values;
  std::set<std::string, std::less<>> globals;  ///< each once
  const PickleValue* root = nullptr;
  int64_t end = 0;  ///< offset after the pickle
};

/// Reads the pickle that begins at offset `begin` of `bytes`, which must outlive the result: binary protocols 2 to 5,
/// all opcodes that Python writes in them but those for extension registries and out-of-band buffers. Work is bounded
/// by the bytes read, memory by `allowance`. Error, which names `file` and the offset: another opcode, a global that
/// may run programs or code when Python loads it (io/pickle_globals.h), a pickle that ends early, contradicts itself or
/// costs more than the allowance.
Pickle read_pickle(std::span<const uint8_t> bytes, int64_t begin, std::string_view file, Allowance& allowance);

}  // namespace beit
