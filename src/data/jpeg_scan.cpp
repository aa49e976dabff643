#include "data/jpeg_scan.h"

#include <stdio.h>  // jpeglib.h wants FILE

#if __has_include(<jpegint.h>)
#define JPEG_INTERNALS
#endif
#include <jpeglib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace beit {

#ifdef JPEG_INTERNALS

namespace {

// The order in which a block's coefficients come. What a damaged block has beyond them goes to the last.
constexpr std::array<uint8_t, DCTSIZE2 + 16> kZigzag{
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,
    6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31,
    39, 46, 53, 60, 61, 54, 47, 55, 62, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63};

// As far as a block may read before its end is looked at: 64 codes of 16 bits with values of 15, and 16 bytes ahead.
constexpr size_t kBeyond = 64 * 31 / 8 + 16;

constexpr int kMostCodeBits = 16;
constexpr int kMostDc = 1 << 16;  // no whole image comes near it

// Where the highest of a value's bits is 0, it stands for a negative one.
int extended(int bits, int size) { return bits < (1 << (size - 1)) ? bits - (1 << size) + 1 : bits; }

}  // namespace

class JpegScan::Decoder {
 public:
  explicit Decoder(GiveUp give_up) : give_up_(give_up) {}

  void start(j_decompress_ptr info);

 private:
  static constexpr int kQuickBits = 10;

  /// What kQuickBits bits begin with.
  struct Quick {
    int16_t value;   ///< the coefficient; 0: there is none, or its bits do not all lie within
    uint8_t symbol;  ///< zeros before the coefficient (upper half) and its bits (lower half)
    uint8_t length;  ///< of the code, and of the coefficient's bits where its value is given; 0: no code so short
  };

  struct Table {
    std::array<Quick, 1 << kQuickBits> quick;
    std::array<uint8_t, 256> symbols;
    std::array<uint32_t, 17> end;       ///< by length: what follows the last code, as 16 bits
    std::array<int32_t, 17> symbol_of;  ///< by length: from a code to its place in symbols
  };

  struct Bits {
    uint64_t bits = 0;  ///< the next ones, from the highest on
    int held = 0;       ///< of them for certain: others behind them come once more with the next refill()
    const uint8_t* next = nullptr;

    void refill();
    uint32_t peek(int count) const { return static_cast<uint32_t>(bits >> (64 - count)); }
    void skip(int count);
    int take_value(int size);
  };

  static void fill(Table& table, const JHUFF_TBL& codes);
  static boolean decode_mcu(j_decompress_ptr info, JBLOCKROW* blocks);
  static bool decode_block(Bits& bits, const Table& dc, const Table& ac, int& last_dc, JCOEF* block);
  static int long_symbol(Bits& bits, const Table& table);

  void unstuff(const uint8_t* in, size_t size, size_t most_restarts);
  bool decode(j_decompress_ptr info, JBLOCKROW* blocks);
  bool restart();
  const uint8_t* segment_end() const {
    return bytes_.get() + (next_restart_ < restarts_.size() ? restarts_[next_restart_] : size_);
  }

  GiveUp give_up_;
  std::unique_ptr<uint8_t[]> bytes_;  ///< the scan's, without stuffed zeros and markers; zeros after them
  size_t size_ = 0;
  std::vector<size_t> restarts_;  ///< where markers stood in between
  size_t next_restart_ = 0;
  unsigned mcus_to_restart_ = 0;
  Bits bits_;
  std::array<int, MAX_COMPS_IN_SCAN> last_dc_{};
  std::array<Table, NUM_HUFF_TBLS> dc_, ac_;
};

void JpegScan::Decoder::start(j_decompress_ptr info) {
  for (int i = 0; i < info->comps_in_scan; ++i) {
    const auto dc = static_cast<size_t>(info->cur_comp_info[i]->dc_tbl_no);
    const auto ac = static_cast<size_t>(info->cur_comp_info[i]->ac_tbl_no);
    fill(dc_[dc], *info->dc_huff_tbl_ptrs[dc]);
    fill(ac_[ac], *info->ac_huff_tbl_ptrs[ac]);
  }
  const size_t mcus = size_t{info->MCUs_per_row} * info->MCU_rows_in_scan, every = info->restart_interval;
  unstuff(info->src->next_input_byte, info->src->bytes_in_buffer, every == 0 ? 0 : (mcus - 1) / every);
  mcus_to_restart_ = info->restart_interval;
  bits_ = {.next = bytes_.get()};
  info->client_data = this;
  info->entropy->decode_mcu = decode_mcu;
}

// libjpeg has checked the codes.
void JpegScan::Decoder::fill(Table& table, const JHUFF_TBL& codes) {
  table.quick.fill({});
  std::ranges::copy(codes.huffval, table.symbols.begin());
  uint32_t code = 0;
  int32_t place = 0;
  for (int length = 1; length <= kMostCodeBits; ++length, code <<= 1) {
    const auto l = static_cast<size_t>(length);
    table.symbol_of[l] = place - static_cast<int32_t>(code);
    for (int i = 0; i < codes.bits[l]; ++i, ++code, ++place) {
      if (length > kQuickBits) continue;
      const uint8_t symbol = table.symbols[static_cast<size_t>(place)];
      const int size = symbol & 15, spare = kQuickBits - length;
      for (int rest = 0; rest < 1 << spare; ++rest) {
        Quick& quick = table.quick[(code << spare) + static_cast<uint32_t>(rest)];
        quick = {0, symbol, static_cast<uint8_t>(length)};
        if (size == 0 || size > spare) continue;
        quick.value = static_cast<int16_t>(extended(rest >> (spare - size), size));
        quick.length = static_cast<uint8_t>(length + size);
      }
    }
    table.end[l] = code << (kMostCodeBits - length);
  }
}

// A byte 0xff of the data has a zero after it, a marker something else, and any number of them may stand for one. Ends
// where something else stands than a whole image has.
void JpegScan::Decoder::unstuff(const uint8_t* in, size_t size, size_t most_restarts) {
  bytes_ = std::make_unique_for_overwrite<uint8_t[]>(size + kBeyond);
  const uint8_t* const end = in + size;
  uint8_t* out = bytes_.get();
  while (in < end) {
    const auto* mark = static_cast<const uint8_t*>(std::memchr(in, 0xff, static_cast<size_t>(end - in)));
    out = std::copy(in, mark == nullptr ? end : mark, out);
    if (mark == nullptr) break;
    in = std::find_if(mark, end, [](uint8_t byte) { return byte != 0xff; });
    if (in == end) break;
    if (*in == 0) {
      *out++ = 0xff;
    } else if (restarts_.size() < most_restarts && *in == JPEG_RST0 + restarts_.size() % 8) {
      restarts_.push_back(static_cast<size_t>(out - bytes_.get()));
    } else {
      break;
    }
    ++in;
  }
  size_ = static_cast<size_t>(out - bytes_.get());
  std::fill_n(out, kBeyond, uint8_t{0});
}

[[gnu::always_inline]] inline void JpegScan::Decoder::Bits::refill() {
  uint64_t more = 0;
  std::memcpy(&more, next, sizeof(more));
  if constexpr (std::endian::native == std::endian::little) more = __builtin_bswap64(more);
  bits |= more >> held;
  next += (63 - held) >> 3;
  held |= 56;
}

[[gnu::always_inline]] inline void JpegScan::Decoder::Bits::skip(int count) {
  bits <<= count;
  held -= count;
}

[[gnu::always_inline]] inline int JpegScan::Decoder::Bits::take_value(int size) {
  const int value = extended(static_cast<int>(peek(size)), size);
  skip(size);
  return value;
}

// -1: no such code.
int JpegScan::Decoder::long_symbol(Bits& bits, const Table& table) {
  const uint32_t next = bits.peek(kMostCodeBits);
  for (int length = kQuickBits + 1; length <= kMostCodeBits; ++length) {
    const auto l = static_cast<size_t>(length);
    if (next >= table.end[l]) continue;
    bits.skip(length);
    return table
        .symbols[static_cast<uint8_t>(static_cast<int32_t>(next >> (kMostCodeBits - length)) + table.symbol_of[l])];
  }
  return -1;
}

[[gnu::always_inline]] inline bool JpegScan::Decoder::decode_block(Bits& bits, const Table& dc, const Table& ac,
                                                                   int& last_dc, JCOEF* block) {
  bits.refill();
  const Quick first = dc.quick[bits.peek(kQuickBits)];
  bits.skip(first.length);
  if (first.value != 0) {
    last_dc += first.value;
  } else {
    const int size = first.length > 0 ? first.symbol : long_symbol(bits, dc);
    if (size < 0) return false;
    if (size > 0) last_dc += bits.take_value(size);
  }
  if (last_dc <= -kMostDc || last_dc >= kMostDc) return false;
  block[0] = static_cast<JCOEF>(last_dc);

  // At least 56 bits are there after each refill: enough for five coefficients that the table gives.
  int k = 1;
  while (k < DCTSIZE2) {
    bits.refill();
    Quick quick;
#pragma GCC unroll 5
    for (int i = 0; i < 5; ++i) {
      quick = ac.quick[bits.peek(kQuickBits)];
      bits.skip(quick.length);
      if (quick.value == 0) break;
      k += quick.symbol >> 4;
      block[kZigzag[static_cast<size_t>(k)]] = quick.value;
      if (++k >= DCTSIZE2) return true;
    }
    if (quick.value != 0) continue;
    const int symbol = quick.length > 0 ? quick.symbol : long_symbol(bits, ac);
    const int size = symbol & 15;
    if (symbol < 0) return false;
    if (size == 0 && symbol != 0xf0) break;
    k += symbol >> 4;
    if (size > 0) {
      bits.refill();
      block[kZigzag[static_cast<size_t>(k)]] = static_cast<JCOEF>(bits.take_value(size));
    }
    ++k;
  }
  return true;
}

boolean JpegScan::Decoder::decode_mcu(j_decompress_ptr info, JBLOCKROW* blocks) {
  auto* decoder = static_cast<Decoder*>(info->client_data);
  if (!decoder->decode(info, blocks)) decoder->give_up_(info);
  return TRUE;
}

// The next minimum coded unit: a few blocks of each component, all zeros so far. None: it is not wanted.
bool JpegScan::Decoder::decode(j_decompress_ptr info, JBLOCKROW* blocks) {
  if (info->restart_interval > 0 && mcus_to_restart_-- == 0) {
    if (!restart()) return false;
    mcus_to_restart_ = info->restart_interval - 1;
  }
  Bits bits = bits_;
  const uint8_t* const end = segment_end();
  for (int i = 0; i < info->blocks_in_MCU; ++i) {
    const int in_scan = info->MCU_membership[i];
    const jpeg_component_info& component = *info->cur_comp_info[in_scan];
    JBLOCK unwanted;
    if (!decode_block(bits, dc_[static_cast<size_t>(component.dc_tbl_no)],
                      ac_[static_cast<size_t>(component.ac_tbl_no)], last_dc_[static_cast<size_t>(in_scan)],
                      blocks != nullptr ? *blocks[i] : unwanted)) {
      return false;
    }
    if ((bits.next - end) * 8 > bits.held) return false;
  }
  bits_ = bits;
  return true;
}

bool JpegScan::Decoder::restart() {
  if (next_restart_ == restarts_.size()) return false;
  bits_ = {.next = bytes_.get() + restarts_[next_restart_++]};
  last_dc_.fill(0);
  return true;
}

void JpegScan::take_over(j_decompress_ptr info, GiveUp give_up) {
  const bool sequential = !info->progressive_mode && !info->arith_code && info->data_precision == 8 && info->Ss == 0 &&
                          info->Se == DCTSIZE2 - 1;
  if (!sequential || info->comps_in_scan != info->num_components) return;
  decoder_ = std::make_unique<Decoder>(give_up);
  decoder_->start(info);
}

#else

class JpegScan::Decoder {};

void JpegScan::take_over(j_decompress_ptr, GiveUp) {}

#endif

JpegScan::JpegScan() = default;
JpegScan::~JpegScan() = default;

}  // namespace beit
