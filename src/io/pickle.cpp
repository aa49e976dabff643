#include "io/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "io/mapped_file.h"
#include "io/pickle_globals.h"

namespace beit {
namespace {

using Value = PickleValue;
using Kind = PickleValue::Kind;

constexpr std::string_view kOrderedDict = "collections.OrderedDict", kDefaultDict = "collections.defaultdict";
constexpr auto kSets =
    std::to_array<std::string_view>({"builtins.set", "builtins.frozenset", "__builtin__.set", "__builtin__.frozenset"});
constexpr size_t kLineBytes = 1024;  // longest module name, class name or number that is written as text

// What the containers cost, at most: places in growing vectors count thrice, allocations with what malloc adds.
constexpr size_t kPlaceBytes = 3 * sizeof(void*), kValueBytes = sizeof(Value) + 2 * sizeof(void*),
                 kMemoBytes = 12 * sizeof(void*), kNameBytes = 16 * sizeof(void*), kVectorBytes = 4 * sizeof(void*);

/// The stack machine. Every value is made by one opcode, and whatever takes memory takes it from the allowance first.
class Unpickler {
 public:
  Unpickler(std::span<const uint8_t> bytes, int64_t begin, std::string_view file, Allowance& allowance)
      : bytes_(bytes), at_(static_cast<size_t>(begin)), file_(file), allowance_(allowance) {}

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
    switch (const auto opcode = number<uint8_t>(); opcode) {
      case 0x80: protocol(number<uint8_t>()); break;
      case 0x95: number<uint64_t>(); break;  // FRAME: a hint for buffers
      case '.': return false;
      case '(': mark(); break;
      case '0': pop(); break;
      case '1': pop_to_mark(); break;
      case '2': push_again(top()); break;

      case 'N': push({.kind = Kind::kNone}); break;
      case 0x88: push({.kind = Kind::kBool, .integer = 1}); break;
      case 0x89: push({.kind = Kind::kBool, .integer = 0}); break;
      case 'I': line_integer(line()); break;
      case 'J': integer(number<int32_t>()); break;
      case 'K': integer(number<uint8_t>()); break;
      case 'M': integer(number<uint16_t>()); break;
      case 0x8a: long_integer(take(number<uint8_t>())); break;
      case 0x8b: long_integer(take(number<uint32_t>())); break;
      case 'G': push({.kind = Kind::kReal, .real = big_endian_real()}); break;

      case 'U':
      case 0x8c: text(Kind::kText, take(number<uint8_t>())); break;
      case 'T':
      case 'X': text(Kind::kText, take(number<uint32_t>())); break;
      case 0x8d: text(Kind::kText, take(number<uint64_t>())); break;
      case 'C': text(Kind::kBytes, take(number<uint8_t>())); break;
      case 'B': text(Kind::kBytes, take(number<uint32_t>())); break;
      case 0x8e:
      case 0x96: text(Kind::kBytes, take(number<uint64_t>())); break;

      case ')': push({.kind = Kind::kTuple}); break;
      case 't': push({.kind = Kind::kTuple, .items = pop_to_mark()}); break;
      case 0x85:
      case 0x86:
      case 0x87: push({.kind = Kind::kTuple, .items = pop_last(opcode - size_t{0x84})}); break;
      case ']': push({.kind = Kind::kList}); break;
      case 'a': extend(Kind::kList, pop_last(1)); break;
      case 'e': extend(Kind::kList, pop_to_mark()); break;
      case 0x8f: push({.kind = Kind::kSet}); break;
      case 0x90: extend(Kind::kSet, pop_to_mark()); break;
      case 0x91: push({.kind = Kind::kSet, .items = pop_to_mark()}); break;
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
      case 'R': reduce(pop_last(2)); break;
      case 0x81: object(pop_last(2)); break;
      case 0x92: {  // the arguments by name are of no use here
        auto call = pop_last(3);
        call.pop_back();
        object(std::move(call));
        break;
      }
      case 'o': old_object(pop_to_mark()); break;
      case 'b': build(); break;
      case 'Q': push({.kind = Kind::kPersistent, .items = pop_last(1)}); break;
      default: damaged("expected an opcode of binary pickles, got 0x{:02x}", opcode);
    }
    return true;
  }

  template <class... Args>
  [[noreturn]] void damaged(fmt::format_string<Args...> message, Args&&... args) const {
    fail("{}: pickle: {} at offset {}; the file is damaged or no state dict: fetch or save it again", file_,
         fmt::format(message, std::forward<Args>(args)...), opcode_at_);
  }

  void take_memory(size_t bytes) {
    if (!allowance_.take(bytes)) damaged("expected values that fit the file's size and 56 MiB, got more");
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
                                   std::min(bytes_.size() - at_, kLineBytes)};
    const size_t length = rest.find('\n');
    if (length == std::string_view::npos) damaged("expected a line of at most {} bytes, got no end", kLineBytes);
    return take(length + 1).substr(0, length);
  }

  // The stack. Nothing below the innermost mark can be reached.

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  void mark() {
    take_memory(kPlaceBytes);
    marks_.push_back(stack_.size());
  }

  void push(Value value) {
    take_memory(kValueBytes);
    value.offset = static_cast<int64_t>(opcode_at_);
    push_again(&pickle_.values.emplace_back(std::move(value)));
  }

  void push_again(Value* value) {
    take_memory(kPlaceBytes);
    stack_.push_back(value);
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
    take_memory(kVectorBytes + count * sizeof(void*));
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

  void text(Kind kind, std::string_view value) { push({.kind = kind, .text = value}); }

  /// What Python 2 writes for more than 32 bits; "00" and "01" are its bools.
  void line_integer(std::string_view digits) {
    if (digits == "00" || digits == "01") return push({.kind = Kind::kBool, .integer = digits == "01"});
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size())
      damaged("expected a whole number, got other text");
    integer(value);
  }

  void long_integer(std::string_view digits) {
    if (digits.size() > sizeof(int64_t)) return push({.kind = Kind::kBigInteger, .text = digits});
    const bool negative = !digits.empty() && static_cast<int8_t>(digits.back()) < 0;
    int64_t value = negative ? -1 : 0;
    std::memcpy(&value, digits.data(), digits.size());
    integer(value);
  }

  void extend(Kind kind, const std::vector<const Value*>& items) {
    Value* const container = top();
    if (container->kind == Kind::kObject) return;  // of a class of its own: recorded without what is in it
    expect(kind, container);
    if (kind == Kind::kDict && items.size() % 2 != 0) damaged("expected a value for each key, got a key alone");
    take_memory(items.size() * kPlaceBytes);
    container->items.insert(container->items.end(), items.begin(), items.end());
  }

  void memoize(size_t slot) {
    take_memory(kMemoBytes);
    memo_[slot] = top();
  }

  void recall(size_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) damaged("expected a remembered value, got none as number {}", slot);
    push_again(found->second);
  }

  void global(std::string_view module, std::string_view name) {
    if (module.size() > kLineBytes || name.size() > kLineBytes) damaged("expected a shorter name, got a long one");
    const std::string full = fmt::format("{}.{}", module, name);
    auto known = pickle_.globals.find(full);
    if (known == pickle_.globals.end()) {
      require(!runs_code(module, name),
              "{}: pickle: expected tensors and plain values, got {} at offset {}, which runs programs or code when "
              "Python loads it; nothing was run: do not trust this file, fetch the weights from their publisher",
              file_, printable(full), opcode_at_);
      take_memory(kNameBytes + full.size());
      known = pickle_.globals.insert(full).first;
    }
    push({.kind = Kind::kGlobal, .text = *known});
  }

  /// A call: those that make containers are known, others are recorded.
  void reduce(std::vector<const Value*> call) {
    const std::string_view name = call[0]->kind == Kind::kGlobal ? call[0]->text : "";
    const auto& arguments = expect(Kind::kTuple, call[1])->items;
    if (name == kOrderedDict) return ordered_dict(arguments);
    if (name == kDefaultDict) return push({.kind = Kind::kDict});
    if (std::ranges::find(kSets, name) == kSets.end()) return object(std::move(call));
    Value set{.kind = Kind::kSet};
    if (!arguments.empty() && arguments[0]->kind == Kind::kList) {
      take_memory(arguments[0]->items.size() * kPlaceBytes);
      set.items = arguments[0]->items;
    }
    push(std::move(set));
  }

  /// Python 3 adds the items afterwards, Python 2 hands over a list of pairs.
  void ordered_dict(const std::vector<const Value*>& arguments) {
    Value dict{.kind = Kind::kDict};
    if (!arguments.empty()) {
      const auto& pairs = expect(Kind::kList, arguments[0])->items;
      take_memory(2 * pairs.size() * kPlaceBytes);
      for (const Value* pair : pairs) {
        if (pair->items.size() != 2) damaged("expected pairs for an OrderedDict, got others");
        dict.items.insert(dict.items.end(), pair->items.begin(), pair->items.end());
      }
    }
    push(std::move(dict));
  }

  void object(std::vector<const Value*> made_of) {
    expect(Kind::kTuple, made_of[1]);
    push({.kind = Kind::kObject, .items = std::move(made_of)});
  }

  /// A class of Python 2's old kind and its arguments.
  void old_object(std::vector<const Value*> items) {
    if (items.empty()) damaged("expected a class, got none");
    const Value* const made_by = items.front();
    items.erase(items.begin());
    push({.kind = Kind::kTuple, .items = std::move(items)});
    take_memory(kVectorBytes + 2 * sizeof(void*));
    object({made_by, pop()});
  }

  /// The state of an object. The containers' own attributes are of no use here.
  void build() {
    const Value* const state = pop();
    Value* const target = top();
    if (target->kind != Kind::kObject) return;
    take_memory(kVectorBytes + 2 * kPlaceBytes);
    target->items.resize(2);
    target->items.push_back(state);
  }

  std::span<const uint8_t> bytes_;
  size_t at_, opcode_at_ = 0;
  std::string_view file_;
  Allowance& allowance_;
  Pickle pickle_;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<size_t, Value*> memo_;
};

}  // namespace

Pickle read_pickle(std::span<const uint8_t> bytes, int64_t begin, std::string_view file, Allowance& allowance) {
  return Unpickler(bytes, begin, file, allowance).run();
}

}  // namespace beit
