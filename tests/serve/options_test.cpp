#include "serve/options.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "serve/routes.h"
#include "tests/data/samples.h"
#include "tests/support.h"

namespace beit {
namespace {

TEST_CASE("serve options: others than this machine need a token and TLS") {
  for (const char* host : {"127.0.0.1", "127.1.2.3", "::1", "localhost"}) CHECK(is_loopback(host));
  for (const char* host : {"0.0.0.0", "::", "127.0.0.1.example.org", "10.0.0.1", "127.example"}) {
    CHECK(!is_loopback(host));
  }
  ServeOptions options;
  CHECK(error_of([&] { require_protected(options, ""); }).empty());
  options.host = "0.0.0.0";
  CHECK(contains(error_of([&] { require_protected(options, ""); }), "--token-file"));
  CHECK(contains(error_of([&] { require_protected(options, "secret"); }), "--tls-cert"));
  options.tls_cert = "cert.pem";
  CHECK(contains(error_of([&] { require_protected(options, "secret"); }), "--tls-key"));
  options.tls_key = "key.pem";
  CHECK(error_of([&] { require_protected(options, "secret"); }).empty());
}

TEST_CASE("serve: a host's header names this machine, with a port or without") {
  for (const char* host : {"", "127.0.0.1", "127.0.0.1:8080", "localhost:80", "[::1]", "[::1]:8080"}) {
    CAPTURE(host);
    CHECK(is_host_of_this_machine(host));
  }
  for (const char* host :
       {"example.org", "example.org:8080", "127.0.0.1.example.org", "[::2]:80", "localhost.org", "["}) {
    CAPTURE(host);
    CHECK(!is_host_of_this_machine(host));
  }
  CHECK(is_page_of_this_machine("http://localhost:3000"));
  for (const char* origin : {"", "null", "https://", "https://example.org", "localhost"}) {
    CAPTURE(origin);
    CHECK(!is_page_of_this_machine(origin));
  }
}

TEST_CASE("serve options: the token is a file's first line, or the environment's") {
  const TemporaryFolder folder;
  const auto file = folder.path / "token";
  const auto write = [&](std::string_view text) {
    write_bytes(file, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  ServeOptions options;
  options.token_file = file.string();
  CHECK(contains(error_of([&] { token_of(options); }), file.string()));
  write("\n");
  CHECK(contains(error_of([&] { token_of(options); }), "got nothing"));
  write("two words\n");
  CHECK(contains(error_of([&] { token_of(options); }), "other characters"));
  write("abc-123\r\nmore");
  CHECK(token_of(options) == "abc-123");
  options.token_file.clear();
  ::setenv(kTokenVariable, "of-the-environment", 1);
  CHECK(token_of(options) == "of-the-environment");
  ::unsetenv(kTokenVariable);
  CHECK(token_of(options).empty());
  CHECK(equal_in_constant_time("abc", "abc"));
  CHECK(!equal_in_constant_time("abd", "abc"));
  CHECK(!equal_in_constant_time("", "abc"));
  CHECK(!equal_in_constant_time("abcd", "abc"));
}

}  // namespace
}  // namespace beit
