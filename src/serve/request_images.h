// The images in a request's body.
#pragma once

#include <httplib.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"

namespace beit {

struct RequestImage {
  std::string name;   ///< the file's, of a multipart body; else empty
  std::string bytes;  ///< encoded
};

struct BodyLimits {
  uint64_t most_bytes = 0;
  int64_t most_images = 0;
  Clock::time_point deadline = {};
};

/// What can be told before the body is read: Refusal where the headers do not announce an image (image/*,
/// application/octet-stream) or several (multipart/form-data) of at most that many bytes: 400, 411, 413, 415.
void check_announced(const httplib::Request& request, uint64_t most_bytes);

/// Reads the body; of multipart every part is an image. Refusal: 400 for a body that ends early, is no multipart or
/// holds no image, 408 at the deadline, 413 beyond a limit.
std::vector<RequestImage> read_images(const httplib::Request& request, const httplib::ContentReader& reader,
                                      const BodyLimits& limits);

}  // namespace beit
