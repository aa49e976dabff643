#include "serve/server.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <regex>
#include <sstream>

#include "base/clock.h"
#include "tests/serve/raw_client.h"
#include "tests/serve/small_server.h"

namespace beit {
namespace {

constexpr const char* kPng = "image/png";

httplib::MultipartFormDataItems parts(const std::vector<std::string>& images) {
  httplib::MultipartFormDataItems items;
  for (const std::string& image : images) {
    items.push_back({"image", image, fmt::format("{}.png", items.size()), "image/png"});
  }
  return items;
}

TEST_CASE("server: an image's bytes, or several as multipart, in the request's order") {
  SmallServer server(counting_model());
  auto client = server.client();
  const auto one = client.Post("/v1/tokens", png_of(3, 5), kPng);
  REQUIRE(one);
  CHECK(one->status == 200);
  const Json answer = Json::parse(one->body);
  CHECK(answer["images"].size() == 1);
  CHECK(answer["images"][0]["pixels"] == 15);
  CHECK(answer["images"][0]["width"] == 5);

  const auto three = client.Post("/v1/tokens", parts({png_of(1, 2), png_of(2, 2), png_of(7, 1)}));
  REQUIRE(three);
  REQUIRE(three->status == 200);
  const Json images = Json::parse(three->body)["images"];
  REQUIRE(images.size() == 3);
  const std::vector<int64_t> expected{2, 4, 7};
  for (size_t i = 0; i < 3; ++i) {
    CHECK(images[i]["pixels"] == expected[i]);
    CHECK(images[i]["name"] == fmt::format("{}.png", i));
  }
}

TEST_CASE("server: requests of many connections share batches, and each gets its own answer") {
  std::mutex mutex;
  std::vector<size_t> sizes;
  ServeOptions options = on_any_port();
  options.max_batch = 8;
  options.max_wait_ms = 100;
  SmallServer server(counting_model([&](size_t size) {
                       const std::lock_guard lock(mutex);
                       sizes.push_back(size);
                     }),
                     options);
  std::atomic<int64_t> right = 0;
  std::vector<std::thread> clients;
  for (int64_t i = 1; i <= 16; ++i) {
    clients.emplace_back([&, i] {
      const auto result = server.client().Post("/v1/tokens", png_of(i, i), kPng);
      if (result && result->status == 200 && Json::parse(result->body)["images"][0]["pixels"] == i * i) ++right;
    });
  }
  for (auto& client : clients) client.join();
  CHECK(right == 16);
  CHECK(std::ranges::max(sizes) <= 8);
  CHECK(sizes.size() < 16);
}

TEST_CASE("server: every refusal has its status and its code") {
  ServeOptions options = on_any_port();
  options.max_body_mib = 1;
  options.max_images = 2;
  options.max_pixels = 100;
  SmallServer server(counting_model(), options);
  const auto posted = [&](const std::string& path, const std::string& body, const char* type,
                          const httplib::Headers& headers = {}) {
    return server.client().Post(path, headers, body, type);
  };
  const auto check = [](const httplib::Result& result, int status, const std::string& code) {
    REQUIRE(result);
    CHECK(result->status == status);
    CHECK(code_of(result) == code);
  };
  const std::string image = png_of(4, 4);
  check(posted("/nothing", image, kPng), 404, "not_found");
  check(posted("/v1/tokens?layer=1", image, kPng), 400, "unexpected_query");
  check(posted("/v1/classify", image, kPng), 404, "not_of_this_network");
  check(server.client().Get("/v1/codes/3"), 404, "no_gallery");
  check(posted("/v1/model", image, kPng), 405, "method_not_allowed");
  const auto wrong = server.client().Get("/v1/tokens");
  check(wrong, 405, "method_not_allowed");
  CHECK(wrong->get_header_value("Allow") == "POST");
  check(server.client().Put("/v1/tokens", image, kPng), 405, "method_not_allowed");
  check(posted("/v1/tokens", image, "text/plain"), 415, "unsupported_type");
  check(posted("/v1/tokens", image, kPng, {{"Content-Encoding", "gzip"}}), 415, "unsupported_encoding");
  check(posted("/v1/tokens", image, kPng, {{"Accept", "text/html"}}), 406, "not_acceptable");
  check(posted("/v1/tokens", image, kPng, {{"Accept", "image/png"}}), 406, "not_acceptable");
  check(posted("/v1/tokens", std::string(size_t{2} << 20, 'x'), kPng), 413, "body_too_large");
  check(posted("/v1/tokens", "", kPng), 400, "no_image");
  check(posted("/v1/tokens", png_of(20, 20), kPng), 413, "too_many_pixels");
  check(posted("/v1/tokens", "no image", kPng), 422, "broken_image");
  check(posted("/v1/tokens", image, "multipart/form-data"), 400, "bad_body");
  check(server.client().Post("/v1/tokens", parts({image, image, image})), 413, "too_many_images");
  const auto second = server.client().Post("/v1/tokens", parts({image, image.substr(0, image.size() / 2)}));
  check(second, 422, "broken_image");
  CHECK(contains(second->body, "image 2 (1.png)"));
  CHECK(contains(raw_answer(server.port(), "POST /v1/tokens HTTP/1.1\r\nContent-Type: image/png\r\n\r\n"), " 411 "));
  CHECK(contains(raw_answer(server.port(), "nonsense\r\n\r\n"), " 400 "));
  for (const std::string start : {"GET /healthz", "POST /v1/tokens"}) {  // what follows is no request of its own
    const auto both = raw_answer(server.port(), start +
                                                    " HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: 0\r\n"
                                                    "Content-Length: 30\r\n\r\nGET /v1/model HTTP/1.1\r\n\r\n");
    CAPTURE(both);
    CHECK(contains(both, " 400 "));
    CHECK(both.find("HTTP/1.1", 1) == std::string::npos);
  }

  auto client = server.client();  // a connection goes on after a refusal of a body that was read
  check(client.Post("/v1/tokens", "no image", kPng), 422, "broken_image");
  CHECK(client.Post("/v1/tokens", image, kPng)->status == 200);
}

TEST_CASE("server: a chunked body beyond the limit is refused as it comes") {
  ServeOptions options = on_any_port();
  options.max_body_mib = 1;
  SmallServer server(counting_model(), options);
  std::string request =
      "POST /v1/tokens HTTP/1.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n";
  request += std::string(size_t{2} << 20, 'x') + "\r\n0\r\n\r\n";
  const std::string answer = raw_answer(server.port(), request);
  CHECK(contains(answer, " 413 "));
  CHECK(contains(answer, "body_too_large"));
}

TEST_CASE("server: a header of too many pixels is refused before its pixels are made room for") {
  SmallServer server(counting_model());
  // A BMP file of 54 bytes that claims 60000 x 60000 pixels.
  std::string bomb = "BM" + std::string(52, '\0');
  bomb[10] = 54, bomb[14] = 40, bomb[26] = 1, bomb[28] = 24;
  bomb[18] = bomb[22] = static_cast<char>(60000 & 255), bomb[19] = bomb[23] = static_cast<char>(60000 >> 8);
  const auto result = server.client().Post("/v1/tokens", bomb, "image/bmp");
  REQUIRE(result);
  CHECK(result->status == 413);
  CHECK(code_of(result) == "too_many_pixels");
}

TEST_CASE("server: what does not fit into the queue is refused with Retry-After; what is too late with 504") {
  Gate gate;
  ServeOptions options = on_any_port();
  options.queue = 2;
  options.max_images = 2;
  options.timeout_s = 2;
  SmallServer server(counting_model([&](size_t) { gate.wait(); }), options);
  std::thread first([&] {
    const auto result = server.client().Post("/v1/tokens", parts({png_of(2, 2), png_of(2, 2)}));
    REQUIRE(result);
    CHECK(result->status == 504);
    CHECK(code_of(result) == "timeout");
  });
  const auto value_of = [&](const std::string& name) {
    const auto metrics = server.client().Get("/metrics");
    std::smatch found;
    return std::regex_search(metrics->body, found, std::regex("\n" + name + " (\\d+)")) ? std::stoi(found[1]) : -1;
  };
  while (value_of("beit_images_under_way") < 2) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const auto full = server.client().Post("/v1/tokens", png_of(2, 2), kPng);
  REQUIRE(full);
  CHECK(full->status == 503);
  CHECK(full->get_header_value("Retry-After") == "1");
  CHECK(code_of(full) == "queue_full");
  first.join();
  gate.open();
  while (value_of("beit_images_under_way") > 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  CHECK(server.client().Post("/v1/tokens", png_of(2, 2), kPng)->status == 200);
}

TEST_CASE("server: a body that comes too slowly is given up") {
  ServeOptions options = on_any_port();
  options.timeout_s = 0.3;
  SmallServer server(counting_model(), options);
  const auto start = Clock::now();
  const std::string answer = raw_answer(
      server.port(), "POST /v1/tokens HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\nhalf");
  CHECK(contains(answer, " 408 "));
  CHECK(contains(answer, "too_slow"));
  CHECK(seconds_since(start) < 5);
}

TEST_CASE("server: a request whose headers do not end is given up; a body after HEAD is no request") {
  SmallServer server(counting_model());
  std::string request = "GET /healthz HTTP/1.1\r\n";
  for (int i = 0; i < 20'000; ++i) request += "X-Filler: some words of no use\r\n";
  CHECK(contains(raw_answer(server.port(), request), " 400 "));
  const std::string hidden = "GET /metrics HTTP/1.1\r\n\r\n";
  const std::string answer = raw_answer(
      server.port(), fmt::format("HEAD /healthz HTTP/1.1\r\nContent-Length: {}\r\n\r\n{}", hidden.size(), hidden));
  CHECK(contains(answer, " 400 "));
  CHECK(!contains(answer, "beit_connections"));
}

TEST_CASE("server: idle connections keep none out; beyond the limit they are told so") {
  ServeOptions options = on_any_port();
  options.connections = 65;
  SmallServer server(counting_model(), options);
  std::vector<httplib::Client> idle;
  for (int i = 0; i < 64; ++i) {
    idle.push_back(server.client());
    REQUIRE(idle.back().Get("/healthz")->status == 200);
  }
  const auto start = Clock::now();
  auto client = server.client();
  CHECK(client.Post("/v1/tokens", png_of(2, 2), kPng)->status == 200);
  CHECK(seconds_since(start) < 2);
  const std::string answer = raw_answer(server.port(), "GET /healthz HTTP/1.1\r\n\r\n");
  CHECK(contains(answer, " 503 "));
  CHECK(contains(answer, "too_many_connections"));
}

TEST_CASE("server: without a token a page from elsewhere reads nothing under a name that leads here") {
  SmallServer server(counting_model());
  auto client = server.client();
  for (const char* path : {"/", "/v1/model", "/metrics"}) {
    CAPTURE(path);
    const auto foreign = client.Get(path, {{"Host", "example.org"}});
    REQUIRE(foreign);
    CHECK(foreign->status == 403);
    CHECK(Json::parse(foreign->body)["error"]["code"] == "foreign_host");
    const auto own = client.Get(path, {{"Host", "localhost:1"}});
    REQUIRE(own);
    CHECK(own->status == 200);
  }
  const auto asked = client.Post("/v1/tokens", {{"Origin", "https://example.org"}}, png_of(1, 2), kPng);
  REQUIRE(asked);
  CHECK(asked->status == 403);
  CHECK(Json::parse(asked->body)["error"]["code"] == "foreign_origin");
}

TEST_CASE("server: with a token only those who bear it are served, but for the page and the health") {
  const TemporaryFolder folder;
  ServeOptions options = on_any_port();
  options.token_file = (folder.path / "token").string();
  const std::string token = "correct-horse";
  write_bytes(options.token_file, {reinterpret_cast<const uint8_t*>(token.data()), token.size()});
  SmallServer server(counting_model(), options);
  for (const char* path : {"/v1/model", "/metrics", "/nothing"}) {
    const auto refused = server.client().Get(path);
    REQUIRE(refused);
    CHECK(refused->status == 401);
    CHECK(refused->get_header_value("WWW-Authenticate") == "Bearer");
    CHECK(server.client().Get(path, {{"Authorization", "Bearer wrong"}})->status == 401);
  }
  CHECK(server.client().Get("/healthz")->status == 200);
  CHECK(server.client().Get("/")->status == 200);
  CHECK(server.client().Get("/v1/model", {{"Authorization", "Bearer " + token}})->status == 200);
  const httplib::Headers bearing{{"Authorization", "Bearer " + token}};
  CHECK(server.client().Post("/v1/tokens", bearing, png_of(2, 2), kPng)->status == 200);
}

TEST_CASE("server: the page comes whole, with a policy that lets nothing else be loaded") {
  SmallServer server(counting_model());
  const auto page = server.client().Get("/", {{"Accept-Encoding", "br, gzip"}, {"Range", "bytes=0-3"}});
  REQUIRE(page);
  CHECK(page->status == 200);
  CHECK(page->get_header_value("Content-Type") == "text/html; charset=utf-8");
  CHECK(contains(page->get_header_value("Content-Security-Policy"), "default-src 'none'"));
  CHECK(page->body.starts_with("<!doctype html>"));
  CHECK(!contains(page->body, "http://"));
  CHECK(server.client().Get("/serve.js")->get_header_value("Content-Type") == "text/javascript; charset=utf-8");
  CHECK(server.client().Get("/serve.css")->status == 200);
  CHECK(server.client().Head("/healthz")->status == 200);
}

TEST_CASE("server: metrics are lines of Prometheus's form, and count what happened") {
  SmallServer server(counting_model());
  auto client = server.client();
  for (int i = 0; i < 3; ++i) client.Post("/v1/tokens", png_of(2, 2), kPng);
  client.Post("/v1/tokens", "no image", kPng);
  client.Get("/secret/path");
  const auto metrics = client.Get("/metrics");
  REQUIRE(metrics);
  static const std::regex sample(
      R"re(([a-z_]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?|\+Inf))re");
  std::map<std::string, double> values;
  std::istringstream lines(metrics->body);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ") || line.starts_with("# TYPE ")) continue;
    std::smatch found;
    REQUIRE_MESSAGE(std::regex_match(line, found, sample), line);
    values[found[1].str() + found[2].str()] = std::stod(found[3]);
  }
  CHECK(values.at(R"(beit_requests_total{path="/v1/tokens",code="200"})") == 3);
  CHECK(values.at(R"(beit_requests_total{path="/v1/tokens",code="422"})") == 1);
  CHECK(values.at(R"(beit_requests_total{path="other",code="404"})") == 1);
  CHECK(values.at(R"(beit_request_seconds_count{path="/v1/tokens"})") == 4);
  CHECK(values.at(R"(beit_request_seconds_bucket{path="/v1/tokens",le="+Inf"})") == 4);
  CHECK(values.at(R"(beit_rejected_total{reason="broken_image"})") == 1);
  CHECK(values.at("beit_batch_images_count") == 3);
  CHECK(values.at("beit_images_total") == 3);
  CHECK(values.at("beit_queue_images") == 0);
}

TEST_CASE("server: at the end what is under way is answered, and what comes is refused") {
  Gate gate;
  auto server = std::make_unique<SmallServer>(counting_model([&](size_t) { gate.wait(); }));
  auto idle = server->client();
  REQUIRE(idle.Get("/healthz")->status == 200);
  std::atomic<int> status = 0;
  std::thread first([&] { status = server->client().Post("/v1/tokens", png_of(2, 2), kPng)->status; });
  while (!contains(server->client().Get("/metrics")->body, "beit_images_under_way 1")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  server->begin_stop();
  httplib::Result health = server->client().Get("/healthz");
  while (health && health->status == 200) health = server->client().Get("/healthz");
  REQUIRE(health);
  CHECK(health->status == 503);
  const auto refused = server->client().Post("/v1/tokens", png_of(2, 2), kPng);
  REQUIRE(refused);
  CHECK(refused->status == 503);
  CHECK(code_of(refused) == "shutting_down");
  gate.open();
  first.join();
  CHECK(status == 200);
  const auto start = Clock::now();
  CHECK(server->stop());
  CHECK(seconds_since(start) < 2);  // the idle connection did not hold it up
}

TEST_CASE("server: the end does not wait longer than it is told to") {
  Gate gate;
  ServeOptions options = on_any_port();
  options.shutdown_s = 0.2;
  options.max_batch = 1;
  SmallServer server(counting_model([&](size_t) { gate.wait(); }), options);
  std::vector<std::thread> clients;
  std::atomic<int> refused = 0;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      const auto result = server.client().Post("/v1/tokens", png_of(2, 2), kPng);
      if (result && result->status == 503) ++refused;
    });
  }
  while (!contains(server.client().Get("/metrics")->body, "beit_images_under_way 3")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  server.begin_stop();
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  gate.open();  // a batch that is computed cannot be broken off
  CHECK(!server.stop());
  for (auto& client : clients) client.join();
  CHECK(refused == 2);
}

}  // namespace
}  // namespace beit
