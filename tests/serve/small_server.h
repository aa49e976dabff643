// A server on this machine's own address, in a thread of the test, and requests to it.
#pragma once

#include <doctest/doctest.h>
#include <httplib.h>

#include <atomic>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "data/image.h"
#include "serve/server.h"
#include "tests/data/samples.h"
#include "tests/support.h"
#include "tests/train/small_models.h"

namespace beit {

using Json = nlohmann::json;

/// Gates open and closed: what an endpoint of a test waits for.
class Gate {
 public:
  void wait() const {
    while (!open_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  void open() { open_ = true; }

 private:
  std::atomic<bool> open_ = false;
};

inline ServeOptions on_any_port() {
  ServeOptions options;
  options.port = 0;
  options.keep_alive_s = 20;
  options.timeout_s = 20;
  return options;
}

/// A model whose one endpoint, `tokens`, tells of each image its number of pixels once `compute` returns; it is handed
/// the size of the batch.
inline ServedModel counting_model(std::function<void(size_t batch)> compute = [](size_t) {}) {
  ServedModel model{{}, {}};
  model.facts = {{"network", "tokenizer"}};
  Endpoint endpoint{.name = "tokens"};
  endpoint.prepare = [](EncodedImage& image) { return PreparedImage{{image.decode()}, image.size()}; };
  endpoint.compute = [compute = std::move(compute)](const std::vector<PreparedImage>& images) {
    compute(images.size());
    std::vector<ImageTensors> made;
    for (const auto& image : images) made.push_back({{"pixels", torch::tensor(image.size.height * image.size.width)}});
    return made;
  };
  endpoint.describe = [](const ImageSize&, const ImageTensors& tensors) {
    return nlohmann::ordered_json{{"pixels", tensors.at("pixels").item<int64_t>()}};
  };
  model.endpoints.push_back(std::move(endpoint));
  return model;
}

class SmallServer {
 public:
  explicit SmallServer(ServedModel model, const ServeOptions& options = on_any_port(),
                       std::unique_ptr<const CodeGallery> gallery = nullptr)
      : server_(std::move(model), options, std::move(gallery)),
        thread_([this] { done_ = server_.run([this] { return stopped_.load(); }); }) {}
  ~SmallServer() { stop(); }

  int port() const { return static_cast<int>(server_.port()); }
  void begin_stop() { stopped_ = true; }
  /// Whether all requests were answered.
  bool stop() {
    begin_stop();
    if (thread_.joinable()) thread_.join();
    return done_;
  }

  httplib::Client client() const {
    httplib::Client client("127.0.0.1", port());
    client.set_keep_alive(true);
    client.set_read_timeout(30, 0);
    return client;
  }

 private:
  Server server_;
  std::atomic<bool> stopped_ = false, done_ = false;
  std::thread thread_;
};

inline std::string png_of(int64_t height, int64_t width, uint64_t number = 0) {
  const auto bytes = encode_png(picture(height, width, number));
  return {bytes.begin(), bytes.end()};
}

/// The code of an answer's error.
inline std::string code_of(const httplib::Result& result) {
  REQUIRE(result);
  const Json answer = Json::parse(result->body);
  CHECK(result->get_header_value("Content-Type") == "application/json");
  CHECK(!answer.at("error").at("message").get<std::string>().empty());
  return answer.at("error").at("code");
}

}  // namespace beit
