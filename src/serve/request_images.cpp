#include "serve/request_images.h"

#include <charconv>
#include <optional>
#include <utility>

#include "base/error.h"
#include "serve/answers.h"
#include "serve/refusal.h"

namespace beit {
namespace {

[[noreturn]] void refuse_large(uint64_t most_bytes) {
  refuse(413, "body_too_large", "expected a body of at most {} bytes, got more; send fewer images at a time",
         most_bytes);
}

std::optional<uint64_t> length_of(const std::string& text) {
  uint64_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return length;
}

}  // namespace

void check_announced(const httplib::Request& request, uint64_t most_bytes) {
  const std::string type = media_type(request.get_header_value("Content-Type"));
  if (!type.starts_with("image/") && type != "application/octet-stream" && type != "multipart/form-data") {
    refuse(415, "unsupported_type",
           "Content-Type: expected image/*, application/octet-stream or multipart/form-data, got '{}'; "
           "name the image's, as with `curl -H 'Content-Type: image/jpeg'`",
           on_one_line(type));
  }
  const std::string coding = request.get_header_value("Content-Encoding");
  if (!coding.empty() && coding != "identity") {
    refuse(415, "unsupported_encoding", "Content-Encoding: expected none, got '{}'; send the images as they are",
           on_one_line(coding));
  }
  const std::string transfer = request.get_header_value("Transfer-Encoding");
  const size_t lengths = request.get_header_value_count("Content-Length");
  if (lengths + request.get_header_value_count("Transfer-Encoding") > 1 ||
      (!transfer.empty() && media_type(transfer) != "chunked")) {
    refuse(400, "bad_length", "expected one Content-Length or Transfer-Encoding: chunked, got others");
  }
  if (!transfer.empty()) return;
  if (lengths == 0) refuse(411, "length_required", "expected a Content-Length or Transfer-Encoding: chunked, got none");
  const auto length = length_of(request.get_header_value("Content-Length"));
  if (!length) refuse(400, "bad_length", "Content-Length: expected a whole number, got another text");
  if (*length > most_bytes) refuse_large(most_bytes);
}

std::vector<RequestImage> read_images(const httplib::Request& request, const httplib::ContentReader& reader,
                                      const BodyLimits& limits) {
  std::vector<RequestImage> images;
  std::optional<Refusal> stopped;
  uint64_t bytes = 0;
  // What these throw would pass through the library; so they note it and have it stop.
  const auto noting = [&](const auto& action) {
    try {
      action();
      return true;
    } catch (const Refusal& refusal) {
      stopped = refusal;
      return false;
    }
  };
  const auto begin = [&](std::string name) {
    if (std::ssize(images) == limits.most_images) {
      refuse(413, "too_many_images", "expected at most {} images, got more; send them in several requests",
             limits.most_images);
    }
    images.push_back({std::move(name), {}});
  };
  const auto take = [&](const char* data, size_t size) {
    return noting([&] {
      bytes += size;
      if (bytes > limits.most_bytes) refuse_large(limits.most_bytes);
      if (Clock::now() > limits.deadline) refuse(408, "too_slow", "expected the whole body in time, got a part of it");
      images.back().bytes.append(data, size);
    });
  };
  bool whole = false;
  if (request.is_multipart_form_data()) {
    whole = reader(
        [&](const httplib::MultipartFormData& part) {
          return noting([&] { begin(part.filename.empty() ? part.name : part.filename); });
        },
        take);
  } else {
    begin({});
    whole = reader(take);
  }
  if (stopped) throw *stopped;
  if (!whole && Clock::now() >= limits.deadline) {
    refuse(408, "too_slow", "expected the whole body in time, got a part of it");
  }
  if (!whole) refuse(400, "bad_body", "expected the whole body in the form that Content-Type names, got another");
  if (images.empty() || images.front().bytes.empty()) {
    refuse(400, "no_image", "expected an image in the body, got none; send its file's bytes");
  }
  return images;
}

}  // namespace beit
