#include "data/jpeg_scan.h"

#include <doctest/doctest.h>
#include <jerror.h>
#include <jpeglib.h>
#include <stdio.h>  // jpeglib.h wants FILE

#include <csetjmp>

#include "data/jpeg.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

struct Form {
  const char* name;
  int quality = 90, across = 2, down = 2, restart = 0;  // of the colours' sampling; MCUs between restarts
  bool grey = false, optimized = false, progressive = false;
  std::pair<int64_t, int64_t> size{61, 83};
};

constexpr Form kForms[]{{.name = "4:2:0"},
                        {.name = "4:4:4", .across = 1, .down = 1},
                        {.name = "4:2:2", .down = 1},
                        {.name = "4:4:0", .across = 1},
                        {.name = "4:1:1", .across = 4, .down = 1},
                        {.name = "grey", .grey = true},
                        {.name = "long codes and values", .quality = 100, .across = 1, .down = 1},
                        {.name = "short codes", .quality = 5},
                        {.name = "its own codes", .quality = 97, .optimized = true},
                        {.name = "a restart after each unit", .restart = 1},
                        {.name = "restarts", .restart = 7},
                        {.name = "one pixel", .size = {1, 1}},
                        {.name = "progressive, which is left to libjpeg", .progressive = true}};

std::vector<uint8_t> jpeg_of(const Form& form) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &out, &size);
  const auto pixels_HWC = picture(form.size.first, form.size.second, 3);
  info.image_height = static_cast<JDIMENSION>(form.size.first);
  info.image_width = static_cast<JDIMENSION>(form.size.second);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  if (form.grey) jpeg_set_colorspace(&info, JCS_GRAYSCALE);
  jpeg_set_quality(&info, form.quality, TRUE);
  info.comp_info[0].h_samp_factor = form.grey ? 1 : form.across;
  info.comp_info[0].v_samp_factor = form.grey ? 1 : form.down;
  info.optimize_coding = form.optimized ? TRUE : FALSE;
  info.restart_interval = static_cast<unsigned>(form.restart);
  if (form.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    auto* row = pixels_HWC.mutable_data_ptr<uint8_t>() + info.next_scanline * info.image_width * 3;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::vector<uint8_t> bytes(out, out + size);
  free(out);
  return bytes;
}

struct Errors {
  jpeg_error_mgr manager;
  std::jmp_buf caller;
};

[[noreturn]] void leave(j_common_ptr info) { std::longjmp(reinterpret_cast<Errors*>(info->err)->caller, 1); }

/// What libjpeg makes of a file by itself: rows of colours or grey; false where it gives up, or pads what is missing.
bool libjpeg_rows(std::span<const uint8_t> bytes, std::vector<uint8_t>& rows) {
  jpeg_decompress_struct info{};
  Errors errors{};
  info.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = leave;
  errors.manager.emit_message = [](j_common_ptr common, int level) {
    if (level < 0 && common->err->msg_code == JWRN_JPEG_EOF) leave(common);
  };
  if (setjmp(errors.caller) != 0) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, bytes.data(), bytes.size());
  jpeg_read_header(&info, TRUE);
  info.out_color_space = JCS_RGB;
  jpeg_start_decompress(&info);
  rows.resize(size_t{info.output_height} * info.output_width * 3);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = rows.data() + size_t{info.output_scanline} * info.output_width * 3;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_destroy_decompress(&info);
  return true;
}

std::vector<uint8_t> our_rows(std::span<const uint8_t> bytes) { return bytes_of(JpegFile(bytes, "jpeg").decode()); }

}  // namespace

TEST_CASE("jpeg scan: the pixels are those of libjpeg's own decoder, in each form of a file") {
  for (const Form& form : kForms) {
    CAPTURE(form.name);
    const auto bytes = jpeg_of(form);
    std::vector<uint8_t> rows;
    REQUIRE(libjpeg_rows(bytes, rows));
    CHECK(our_rows(bytes) == rows);
  }
}

TEST_CASE("jpeg scan: the pixels of photographs are those of libjpeg's own decoder") {
  const auto folder = shared_file("data/imagenet-sample");
  if (!folder) return;
  int files = 0, rgb = 0;
  for (const auto& entry : std::filesystem::directory_iterator(*folder)) {
    if (++files % 5 != 0) continue;
    CAPTURE(entry.path().string());
    std::ifstream stream(entry.path(), std::ios::binary);
    const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(stream), {}};
    std::vector<uint8_t> rows;
    if (!libjpeg_rows(bytes, rows)) continue;  // four inks
    ++rgb;
    REQUIRE(our_rows(bytes) == rows);
  }
  CHECK(rgb > 90);
}

TEST_CASE("jpeg scan: of a damaged file come the pixels, or the error, that libjpeg's own decoder has") {
  Random random(4, 0, 0, Purpose::kAugment);
  int both = 0, neither = 0;
  for (const Form& form : kForms) {
    CAPTURE(form.name);
    const auto whole = jpeg_of(form);
    for (int trial = 0; trial < 150; ++trial) {
      CAPTURE(trial);
      auto bytes = whole;
      const auto place = [&] { return static_cast<size_t>(random.integer(0, std::ssize(bytes))); };
      if (trial % 3 == 0) {
        const size_t from = place();
        bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                    bytes.begin() + static_cast<std::ptrdiff_t>(std::min(bytes.size(), from + 1 + place() % 40)));
      } else {
        for (int64_t flips = random.integer(1, 4); flips > 0; --flips) {
          bytes[place()] ^= static_cast<uint8_t>(1 << random.integer(0, 8));
        }
      }
      std::vector<uint8_t> rows, ours;
      const bool decodes = libjpeg_rows(bytes, rows);
      try {
        ours = our_rows(bytes);
      } catch (const Error& error) {
        if (decodes) CHECK(contains(error.what(), "without an end"));  // which is asked for before
        neither += decodes ? 0 : 1;
        continue;
      }
      REQUIRE(decodes);
      REQUIRE(ours == rows);
      ++both;
    }
  }
  CHECK(both > 500);
  CHECK(neither > 50);
}
