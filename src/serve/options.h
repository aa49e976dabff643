// How a server listens, what it bounds, and how it batches.
#pragma once

#include <cstdint>
#include <string>

#include "base/option.h"

namespace beit {

struct ServeOptions {
  std::string host = "127.0.0.1";
  int64_t port = 8080;              ///< 0: any free one
  int64_t max_batch = 32;           ///< images
  double max_wait_ms = 5;           ///< that the oldest image of a batch waits for others
  int64_t max_images = 64;          ///< of a request
  int64_t max_body_mib = 32;        ///< of a request
  int64_t max_pixels = 50'000'000;  ///< of an image
  int64_t queue = 256;              ///< images of all requests that are read, decoded, waiting or computed
  double timeout_s = 30;            ///< from a request's first byte to its answer
  double keep_alive_s = 60;         ///< that a connection may be idle
  int64_t connections = 256;        ///< at a time
  double shutdown_s = 30;           ///< for what is under way when a signal comes
  bool apply_orientation = false;   ///< turn images upright as their Exif data says
  std::string token_file, tls_cert, tls_key;
};
OptionList describe(ServeOptions&);

/// The variable of the environment that holds the token where --token-file does not name a file.
inline constexpr const char* kTokenVariable = "BEIT_TOKEN";

/// The token that requests must bear: the file's first line, or what kTokenVariable says; empty where neither is set.
/// Error for a file that cannot be read or is empty, and for a token of other characters than RFC 6750 has.
std::string token_of(const ServeOptions&);

/// Whether only this machine reaches that address: "localhost", ::1, and 127.0.0.0/8.
bool is_loopback(const std::string& host);

/// Error for an address that others reach without a token or without TLS, and where of --tls-cert and --tls-key only
/// one is given.
void require_protected(const ServeOptions&, const std::string& token);

}  // namespace beit
