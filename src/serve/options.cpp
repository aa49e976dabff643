#include "serve/options.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "base/error.h"

namespace beit {

OptionList describe(ServeOptions& options) {
  return {
      {.name = "host",
       .value = &options.host,
       .help = "address to listen at; another than this machine's own wants a token and TLS",
       .value_name = "ADDRESS"},
      {.name = "port",
       .value = &options.port,
       .help = "port to listen at; 0: any that is free, which the log names",
       .range = {.least = 0, .most = 65535}},
      {.name = "max-batch",
       .value = &options.max_batch,
       .help = "images that are computed at once, at most",
       .range = {.least = 1, .most = 4096}},
      {.name = "max-wait-ms",
       .value = &options.max_wait_ms,
       .help = "milliseconds that the oldest image of a batch waits for others",
       .range = {.least = 0, .most = 10'000}},
      {.name = "max-images",
       .value = &options.max_images,
       .help = "images of a request, at most",
       .range = {.least = 1, .most = 4096}},
      {.name = "max-body-mib",
       .value = &options.max_body_mib,
       .help = "MiB of a request's body, at most",
       .range = {.least = 1, .most = 4096}},
      {.name = "max-pixels",
       .value = &options.max_pixels,
       .help = "pixels of an image, at most; more are refused before they are decoded",
       .range = {.least = 1, .most = 178'956'970}},
      {.name = "queue",
       .value = &options.queue,
       .help = "images under way of all requests, at most; beyond that requests are refused",
       .range = {.least = 1, .most = 1e6}},
      {.name = "timeout-s",
       .value = &options.timeout_s,
       .help = "seconds from a request's first byte to its answer, at most",
       .range = {.least = 0, .most = 3600, .without_least = true}},
      {.name = "keep-alive-s",
       .value = &options.keep_alive_s,
       .help = "seconds that a connection may be idle",
       .range = {.least = 0, .most = 3600, .without_least = true}},
      {.name = "connections",
       .value = &options.connections,
       .help = "connections at a time, at most",
       .range = {.least = 1, .most = 4096}},
      {.name = "shutdown-s",
       .value = &options.shutdown_s,
       .help = "seconds for the requests under way when Ctrl-C or SIGTERM comes, at most",
       .range = {.least = 0, .most = 3600}},
      {.name = "apply-orientation",
       .value = &options.apply_orientation,
       .help = "turn images upright as their Exif data says"},
      {.name = "token-file",
       .value = &options.token_file,
       .help = "file whose first line requests must bear as `Authorization: Bearer`; without, the variable BEIT_TOKEN",
       .value_name = "FILE"},
      {.name = "tls-cert",
       .value = &options.tls_cert,
       .help = "PEM file of the server's certificate and those that vouch for it; with it the server speaks HTTPS",
       .value_name = "FILE"},
      {.name = "tls-key",
       .value = &options.tls_key,
       .help = "PEM file of that certificate's private key",
       .value_name = "FILE"}};
}

std::string token_of(const ServeOptions& options) {
  std::string token, where = kTokenVariable;
  if (!options.token_file.empty()) {
    where = options.token_file;
    std::ifstream file(options.token_file);
    std::getline(file, token);
    if (token.ends_with('\r')) token.pop_back();
    require(!token.empty(),
            "{}: expected a token in the first line, got nothing; write one there, for instance of `openssl rand -hex "
            "32`",
            where);
  } else if (const char* const variable = std::getenv(kTokenVariable)) {
    token = variable;
  }
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";
  require(token.find_first_not_of(kLetters) == std::string::npos,
          "{}: expected a token of letters, digits and -._~+/=, got other characters; make another", where);
  return token;
}

bool is_loopback(const std::string& host) {
  if (host == "localhost" || host == "::1") return true;
  return host.starts_with("127.") && std::ranges::count(host, '.') == 3 &&
         host.find_first_not_of("0123456789.") == std::string::npos;
}

void require_protected(const ServeOptions& options, const std::string& token) {
  require(options.tls_cert.empty() == options.tls_key.empty(),
          "serve: expected a certificate and its key, got only one of them; set --tls-cert FILE and --tls-key FILE");
  if (is_loopback(options.host)) return;
  require(
      !token.empty(),
      "serve: expected a token, as others reach {}, got none; set --token-file FILE or the variable {}, or listen at "
      "127.0.0.1",
      options.host, kTokenVariable);
  require(
      !options.tls_cert.empty(),
      "serve: expected TLS, as others reach {} and could read the token, got none; set --tls-cert FILE and --tls-key "
      "FILE, or listen at 127.0.0.1 behind a proxy that speaks TLS",
      options.host);
}

}  // namespace beit
