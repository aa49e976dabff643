// `beit serve` as a user starts it.
#include <doctest/doctest.h>
#include <httplib.h>

#include <nlohmann/json.hpp>

#include "tests/cli/background.h"
#include "tests/data/samples.h"
#include "tests/train/rank_processes.h"
#include "tests/train/small_models.h"

namespace beit {
namespace {

using Json = nlohmann::json;

TEST_CASE("serve: a tokenizer with images: codes as `beit tokenize` writes them, and what they stand for") {
  const TemporaryFolder folder;
  write_small_tokenizer(folder.path / "model.safetensors");
  const auto images = folder.path / "images";
  for (uint64_t i = 0; i < 4; ++i) write_png(images / fmt::format("{}.png", i), picture(40, 40, i));
  const auto codes = folder.path / "codes.safetensors";
  REQUIRE(start({"tokenize", "--tokenizer", (folder.path / "model.safetensors").string(), "--data", images.string(),
                 "--output", codes.string(), "--device", "cpu"})
              .code == 0);

  const int port = free_port();
  Background server({"serve", "--weights", (folder.path / "model.safetensors").string(), "--data", images.string(),
                     "--port", std::to_string(port), "--device", "cpu", "--threads", "1"});
  httplib::Client client("127.0.0.1", port);
  server.until([&] {
    const auto health = client.Get("/healthz");
    return health && health->status == 200;
  });
  const auto facts = Json::parse(client.Get("/v1/model")->body);
  CHECK(facts["network"] == "tokenizer");
  CHECK(facts["endpoints"] == Json{"/v1/tokens", "/v1/features"});
  CHECK(facts["gallery"] == true);

  const auto file = read_safetensors(codes);
  for (int64_t i = 0; i < 4; ++i) {
    const auto answer = client.Post("/v1/tokens", text_of(images / fmt::format("{}.png", i)), "image/png");
    REQUIRE(answer);
    REQUIRE(answer->status == 200);
    const auto rows = Json::parse(answer->body)["images"][0]["codes"].get<std::vector<std::vector<int32_t>>>();
    const auto codes_N = file.tensors.at("codes")[i];
    for (int64_t n = 0; n < 16; ++n) {
      CHECK(rows.at(static_cast<size_t>(n / 4)).at(static_cast<size_t>(n % 4)) == codes_N[n].item<int32_t>());
    }
  }
  const auto code = file.tensors.at("codes")[0][0].item<int64_t>();
  const auto found = Json::parse(client.Get(fmt::format("/v1/codes/{}", code))->body);
  CHECK(found["uses"] == (file.tensors.at("codes") == code).sum().item<int64_t>());
  REQUIRE(!found["examples"].empty());
  const auto picture_of_it = client.Get(found["examples"][0]["picture"].get<std::string>());
  REQUIRE(picture_of_it);
  CHECK(picture_of_it->get_header_value("Content-Type") == "image/png");
  const auto* bytes = reinterpret_cast<const uint8_t*>(picture_of_it->body.data());
  CHECK(decode_image({bytes, picture_of_it->body.size()}, "example").size(0) == 160);
  CHECK(client.Get("/v1/codes/16")->status == 404);

  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
  CHECK(text_of(server.err()).empty());
}

TEST_CASE("serve: an address that others reach wants a token and TLS; what does not fit is told before") {
  const TemporaryFolder folder;
  const auto weights = (folder.path / "model.safetensors").string();
  write_small_pretrained(weights);
  const auto fails = [&](std::vector<std::string> words, const std::string& why) {
    words.insert(words.begin(), {"serve", "--port", "0", "--device", "cpu"});
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(contains(ended.err, why));
  };
  fails({}, "set --weights");
  fails({"--weights", weights, "--host", "0.0.0.0"}, "set --token-file");
  fails({"--weights", weights, "--data", folder.path.string(), "--quiet"}, "expected a tokenizer for --data");
  fails({"--weights", weights, "--tls-cert", "cert.pem"}, "only one of them");
  fails({"--weights", weights, "--tls-cert", "none.pem", "--tls-key", "none.pem", "--quiet"},
        "none.pem: expected a certificate");
  fails({"--weights", weights, "--queue", "1", "--quiet"}, "expected a queue of at least 64");
}

}  // namespace
}  // namespace beit
