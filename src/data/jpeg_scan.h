// The Huffman-coded data of a sequential JPEG image (ITU-T T.81, F.2.2), whose decoding is most of an image's. Takes
// the place of libjpeg's decoder within libjpeg: a table gives a whole coefficient, where that looks its bits up one
// after another. The coefficients, and so the pixels, are the same.
#pragma once

#include <memory>

struct jpeg_decompress_struct;

namespace beit {

class JpegScan {
 public:
  JpegScan();
  ~JpegScan();

  /// What to do where the data are not those of a whole image: must not return. libjpeg knows what becomes of those.
  using GiveUp = void (*)(jpeg_decompress_struct*);

  /// Between jpeg_start_decompress() and the first row. Does nothing for an image of another kind than 8 bits, Huffman
  /// codes and one scan, and without libjpeg's header of internals (jpegint.h), which not every system has. Else it
  /// must outlive the decoding, and client_data is its own.
  void take_over(jpeg_decompress_struct* info, GiveUp give_up);

 private:
  class Decoder;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace beit
