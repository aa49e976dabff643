#include "io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "io/mapped_file.h"

namespace beit {
namespace {

using Value = PickleValue;
using Kind = PickleValue::Kind;

constexpr std::string_view kOrderedDict = "collections.OrderedDict";
constexpr size_t kGlobalBytes = 256;  // longest module or class name

/// The stack machine. Every value is made by one opcode, every push costs a step: nothing grows faster than the input.
class Unpickler {
 public:
  Unpickler(std::span<const uint8_t> bytes, int64_t begin, std::string_view file,
            std::span<const std::string_view> known_globals)
      : bytes_(bytes), at_(static_cast<size_t>(begin)), file_(file), known_globals_(known_globals) {}

  Pickle run() {
    opcode_at_ = at_;
    if (at_ >= bytes_.size() || bytes_[at_] != 0x80) damaged("expected a binary pickle, got other bytes");
    while (step()) {
    }
    pickle_.root = pop();
    pickle_.end = static_cast<int64_t>(at_);
    return std::move(pickle_);
  }

 private:
  /// One opcode; false at the end.
  bool step() {
    opcode_at_ = at_;
    spend(1);
    switch (const auto opcode = number<uint8_t>(); opcode) {
      case 0x80: protocol(number<uint8_t>()); break;
      case 0x95: number<uint64_t>(); break;  // FRAME: a hint for buffers
      case '.': return false;
      case '(': marks_.push_back(stack_.size()); break;
      case '0': pop(); break;

      case 'N': push({.kind = Kind::kNone}); break;
      case 0x88: push({.kind = Kind::kBool, .integer = 1}); break;
      case 0x89: push({.kind = Kind::kBool, .integer = 0}); break;
      case 'J': integer(number<int32_t>()); break;
      case 'K': integer(number<uint8_t>()); break;
      case 'M': integer(number<uint16_t>()); break;
      case 0x8a: long_integer(take(number<uint8_t>())); break;
      case 0x8b: long_integer(take(number<uint32_t>())); break;
      case 'G': push({.kind = Kind::kReal, .real = big_endian_real()}); break;

      case 'U':
      case 'C':
      case 0x8c: text(take(number<uint8_t>())); break;
      case 'T':
      case 'B':
      case 'X': text(take(number<uint32_t>())); break;
      case 0x8d:
      case 0x8e: text(take(number<uint64_t>())); break;

      case ')': push({.kind = Kind::kTuple}); break;
      case 't': push({.kind = Kind::kTuple, .items = pop_to_mark()}); break;
      case 0x85:
      case 0x86:
      case 0x87: push({.kind = Kind::kTuple, .items = pop_last(opcode - size_t{0x84})}); break;
      case ']': push({.kind = Kind::kList}); break;
      case 'a': extend(Kind::kList, pop_last(1)); break;
      case 'e': extend(Kind::kList, pop_to_mark()); break;
      case '}': push({.kind = Kind::kDict}); break;
      case 's': extend(Kind::kDict, pop_last(2)); break;
      case 'u': extend(Kind::kDict, pop_to_mark()); break;

      case 'q': memoize(number<uint8_t>()); break;
      case 'r': memoize(number<uint32_t>()); break;
      case 0x94: memoize(memo_.size()); break;
      case 'h': recall(number<uint8_t>()); break;
      case 'j': recall(number<uint32_t>()); break;

      case 'c': {
        const std::string_view module = line();
        global(module, line());
        break;
      }
      case 0x93: {
        const auto names = pop_last(2);
        global(expect(Kind::kText, names[0])->text, expect(Kind::kText, names[1])->text);
        break;
      }
      case 'R': reduce(); break;
      case 'b':  // attributes of an object: the containers' own are of no use here
        pop();
        top();
        break;
      case 'Q': push({.kind = Kind::kPersistent, .items = pop_last(1)}); break;
      default: damaged("expected an opcode of plain data, got 0x{:02x}", opcode);
    }
    return true;
  }

  template <class... Args>
  [[noreturn]] void damaged(fmt::format_string<Args...> message, Args&&... args) const {
    fail("{}: pickle: {} at offset {}; the file is damaged or no state dict: fetch or save it again", file_,
         fmt::format(message, std::forward<Args>(args)...), opcode_at_);
  }

  void spend(int64_t steps) {
    if (steps_ < steps) damaged("expected at most {} steps, got more", kPickleSteps);
    steps_ -= steps;
  }

  // Bytes.

  std::string_view take(uint64_t count) {
    const size_t left = bytes_.size() - at_;
    if (count > left) damaged("expected {} more bytes, got {}", count, left);
    const auto* const start = reinterpret_cast<const char*>(bytes_.data() + at_);
    at_ += count;
    return {start, count};
  }

  template <class Number>
  Number number() {
    static_assert(std::endian::native == std::endian::little);
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  double big_endian_real() { return std::bit_cast<double>(__builtin_bswap64(number<uint64_t>())); }

  std::string_view line() {
    const std::string_view rest = {reinterpret_cast<const char*>(bytes_.data() + at_),
                                   std::min(bytes_.size() - at_, kGlobalBytes)};
    const size_t length = rest.find('\n');
    if (length == std::string_view::npos) damaged("expected a name of at most {} bytes, got no end", kGlobalBytes);
    return take(length + 1).substr(0, length);
  }

  // The stack. Nothing below the innermost mark can be reached.

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  void push(Value value) {
    value.offset = static_cast<int64_t>(opcode_at_);
    stack_.push_back(&pickle_.values.emplace_back(std::move(value)));
  }

  Value* top() const {
    if (stack_.size() <= floor()) damaged("expected a value on the stack, got none");
    return stack_.back();
  }

  Value* pop() {
    Value* const value = top();
    stack_.pop_back();
    return value;
  }

  std::vector<const Value*> pop_last(size_t count) {
    if (stack_.size() - floor() < count) damaged("expected {} values on the stack, got fewer", count);
    std::vector<const Value*> items(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }

  std::vector<const Value*> pop_to_mark() {
    if (marks_.empty()) damaged("expected a mark on the stack, got none");
    auto items = pop_last(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  const Value* expect(Kind kind, const Value* value) const {
    if (value->kind != kind) damaged("expected another kind of value, got that of offset {}", value->offset);
    return value;
  }

  // Values.

  void protocol(int version) const {
    if (version < 2 || version > 5) damaged("expected pickle protocol 2 to 5, got {}", version);
  }

  void integer(int64_t value) { push({.kind = Kind::kInteger, .integer = value}); }

  void text(std::string_view value) { push({.kind = Kind::kText, .text = value}); }

  void long_integer(std::string_view digits) {
    if (digits.size() > sizeof(int64_t)) return push({.kind = Kind::kBigInteger, .text = digits});
    const bool negative = !digits.empty() && static_cast<int8_t>(digits.back()) < 0;
    int64_t value = negative ? -1 : 0;
    std::memcpy(&value, digits.data(), digits.size());
    integer(value);
  }

  void extend(Kind kind, const std::vector<const Value*>& items) {
    Value* const container = top();
    expect(kind, container);
    if (kind == Kind::kDict && items.size() % 2 != 0) damaged("expected a value for each key, got a key alone");
    container->items.insert(container->items.end(), items.begin(), items.end());
  }

  void memoize(size_t slot) { memo_[slot] = top(); }

  void recall(size_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) damaged("expected a remembered value, got none as number {}", slot);
    stack_.push_back(found->second);
  }

  void global(std::string_view module, std::string_view name) {
    if (module.size() > kGlobalBytes || name.size() > kGlobalBytes) damaged("expected a shorter name, got a long one");
    const std::string full = fmt::format("{}.{}", module, name);
    if (full == kOrderedDict) return push({.kind = Kind::kGlobal, .text = kOrderedDict});
    const auto known = std::ranges::find(known_globals_, full);
    require(known != known_globals_.end(),
            "{}: pickle: expected tensors and plain values only, got the Python object {} at offset {}; nothing was "
            "run: save model.state_dict() alone",
            file_, printable(full), opcode_at_);
    push({.kind = Kind::kGlobal, .text = *known});
  }

  void reduce() {
    auto call = pop_last(2);
    expect(Kind::kGlobal, call[0]);
    expect(Kind::kTuple, call[1]);
    if (call[0]->text != kOrderedDict) return push({.kind = Kind::kCall, .items = std::move(call)});
    Value dict{.kind = Kind::kDict};  // Python 3 adds the items afterwards, Python 2 hands over a list of pairs
    if (const auto& arguments = call[1]->items; !arguments.empty()) {
      const auto& pairs = expect(Kind::kList, arguments[0])->items;
      spend(static_cast<int64_t>(pairs.size()));
      for (const Value* pair : pairs) {
        if (pair->items.size() != 2) damaged("expected pairs for an OrderedDict, got others");
        dict.items.insert(dict.items.end(), pair->items.begin(), pair->items.end());
      }
    }
    push(std::move(dict));
  }

  std::span<const uint8_t> bytes_;
  size_t at_, opcode_at_ = 0;
  std::string_view file_;
  std::span<const std::string_view> known_globals_;
  int64_t steps_ = kPickleSteps;
  Pickle pickle_;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<size_t, Value*> memo_;
};

}  // namespace

Pickle read_pickle(std::span<const uint8_t> bytes, int64_t begin, std::string_view file,
                   std::span<const std::string_view> known_globals) {
  return Unpickler(bytes, begin, file, known_globals).run();
}

}  // namespace beit
