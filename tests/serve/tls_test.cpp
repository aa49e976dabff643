#include <doctest/doctest.h>
#include <httplib.h>
#include <openssl/pem.h>

#include <cstdio>

#include "tests/serve/small_server.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// A certificate that vouches for itself, and its key, in PEM files.
void write_certificate(const fs::path& certificate_path, const fs::path& key_path) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), &X509_free);
  REQUIRE(key != nullptr);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* const name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  REQUIRE(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  const auto write = [](const fs::path& path, const auto& put) {
    FILE* const file = std::fopen(path.c_str(), "wb");
    REQUIRE(file != nullptr);
    CHECK(put(file) == 1);
    std::fclose(file);
  };
  write(certificate_path, [&](FILE* file) { return PEM_write_X509(file, certificate.get()); });
  write(key_path,
        [&](FILE* file) { return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
}

TEST_CASE("server: by TLS the same answers, large bodies too; in the clear none") {
  const TemporaryFolder folder;
  ServeOptions options = on_any_port();
  options.tls_cert = (folder.path / "cert.pem").string();
  options.tls_key = (folder.path / "key.pem").string();
  write_certificate(options.tls_cert, options.tls_key);
  SmallServer server(counting_model(), options);
  httplib::SSLClient client("127.0.0.1", server.port());
  client.enable_server_certificate_verification(false);
  client.set_keep_alive(true);
  for (int i = 0; i < 3; ++i) {
    const auto answer = client.Post("/v1/tokens", png_of(300, 400), "image/png");
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(Json::parse(answer->body)["images"][0]["pixels"] == 120000);
  }
  CHECK(!server.client().Get("/healthz"));
}

TEST_CASE("server: a certificate without its own key is an error") {
  const TemporaryFolder folder;
  const auto file = [&](const char* name) { return (folder.path / name).string(); };
  write_certificate(file("a.pem"), file("a.key"));
  write_certificate(file("b.pem"), file("b.key"));
  ServeOptions options = on_any_port();
  options.tls_cert = file("a.pem");
  options.tls_key = file("b.key");
  CHECK(contains(error_of([&] { Server server(counting_model(), options); }), "b.key: expected"));
}

}  // namespace
}  // namespace beit
