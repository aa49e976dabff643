// The Huffman-coded data of a sequential JPEG image (ITU-T T.81, F.2.2), whose decoding is most of an image's. Takes
// the place of libjpeg's decoder within libjpeg: a table gives a whole coefficient, where that looks its bits up one
// after another. The coefficients, and so the pixels, are the same.
#pragma once

#include <stdio.h>  // jpeglib.h wants FILE

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#define JPEG_INTERNALS
#include <jpeglib.h>

namespace beit {

class JpegScan {
 public:
  /// What to do where the data are not those of a whole image: must not return. libjpeg knows what becomes of those.
  using GiveUp = void (*)(j_decompress_ptr);

  /// Between jpeg_start_decompress() and the first row. Does nothing for an image of another kind than 8 bits, Huffman
  /// codes and one scan. Else it must outlive the decoding, and client_data is its own.
  void take_over(j_decompress_ptr info, GiveUp give_up);

 private:
  static constexpr int kQuickBits = 10;

  /// What kQuickBits bits begin with.
  struct Quick {
    int16_t value;   ///< the coefficient; 0: its bits do not all lie within
    uint8_t symbol;  ///< zeros before the coefficient (upper half) and its bits (lower half)
    uint8_t length;  ///< of the code, and of the coefficient's bits where its value is given; 0: the code is longer
  };

  struct Table {
    std::array<Quick, 1 << kQuickBits> quick;
    std::array<uint8_t, 256> symbols;
    std::array<uint32_t, 17> end;       ///< by length: what follows the last code, as 16 bits
    std::array<int32_t, 17> symbol_of;  ///< by length: from a code to its place in symbols
  };

  struct Bits {
    uint64_t bits = 0;  ///< the next ones, from the highest on
    int held = 0;       ///< of them, and none after them
    const uint8_t* next = nullptr;

    void refill();
    uint32_t peek(int count) const { return static_cast<uint32_t>(bits >> (64 - count)); }
    void skip(int count);
    int take_value(int size);
  };

  struct Restart {
    size_t at;
    int number;
  };

  static void fill(Table& table, const JHUFF_TBL& codes);
  static boolean decode_mcu(j_decompress_ptr info, JBLOCKROW* blocks);
  static bool decode_block(Bits& bits, const Table& dc, const Table& ac, int& last_dc, JCOEF* block);
  static int long_symbol(Bits& bits, const Table& table);

  void unstuff(const uint8_t* in, size_t size);
  bool decode(j_decompress_ptr info, JBLOCKROW* blocks);
  bool restart();

  GiveUp give_up_ = nullptr;
  std::unique_ptr<uint8_t[]> bytes_;  ///< the scan's, without stuffed zeros and markers; zeros after them
  size_t size_ = 0;
  std::vector<Restart> restarts_;  ///< markers that stood in between
  size_t next_restart_ = 0;
  unsigned mcus_to_restart_ = 0;
  const uint8_t* segment_end_ = nullptr;
  Bits bits_;
  std::array<int, MAX_COMPS_IN_SCAN> last_dc_{};
  std::array<Table, NUM_HUFF_TBLS> dc_, ac_;
};

}  // namespace beit
