// libFuzzer's entry: one program for each format, which BEIT_FUZZ_FORMAT names.
#include "tests/fuzz/readers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const beit::Reader read = beit::reader_of(BEIT_FUZZ_FORMAT);
  read({data, size});
  return 0;
}
