#include "serve/server.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/out_of_memory.h"
#include "base/text.h"
#include "data/for_each.h"
#include "serve/answers.h"
#include "serve/batcher.h"
#include "serve/listener.h"
#include "serve/refusal.h"
#include "serve/request_images.h"
#include "serve/room.h"
#include "serve/routes.h"
#include "viz/web_files.h"

namespace beit {
namespace {

using Handled = httplib::Server::HandlerResponse;
using Json = nlohmann::ordered_json;

/// Scripts, styles and pictures of this server alone; nobody shows the page within another.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri "
    "'none'; form-action 'none'; frame-ancestors 'none'";

std::string page_type(std::string_view file) {
  if (file.ends_with(".css")) return "text/css; charset=utf-8";
  if (file.ends_with(".js")) return "text/javascript; charset=utf-8";
  return "text/html; charset=utf-8";
}

void put(httplib::Response& response, Answer answer) {
  response.body = std::move(answer.body);
  response.set_header("Content-Type", answer.type);
}

/// The same, and the end of the connection: what follows in it belongs to the body that was not read. The library ends
/// a connection where a provider of content fails, as this one does once all is sent.
void put_and_close(httplib::Response& response, Answer answer) {
  response.set_header("Connection", "close");
  const auto body = std::make_shared<const std::string>(std::move(answer.body));
  response.set_content_provider(body->size(), answer.type,
                                [body](size_t offset, size_t length, httplib::DataSink& sink) {
                                  sink.write(body->data() + offset, length);
                                  return false;
                                });
}

/// Whether a body may follow the headers: without a length one may where the method has bodies. Of several lengths a
/// program before this one may have taken another.
bool announces_body(const httplib::Request& request) {
  if (request.has_header("Transfer-Encoding") || request.get_header_value_count("Content-Length") > 1) return true;
  if (request.has_header("Content-Length")) return request.get_header_value("Content-Length") != "0";
  return request.method != "GET" && request.method != "HEAD";
}

/// As errors of an image name it: "image 2 (cat.png)".
std::string called(const RequestImage& image, size_t number) {
  const std::string name = image.name.empty() ? "" : fmt::format(" ({})", on_one_line(image.name));
  return fmt::format("image {}{}", number + 1, name);
}

}  // namespace

class Server::Service {
 public:
  Service(ServedModel model, const ServeOptions& options, std::unique_ptr<const CodeGallery> gallery)
      : model_(std::move(model)),
        options_(options),
        gallery_(std::move(gallery)),
        token_(token_of(options)),
        room_(options.queue),
        decoders_(std::max<int64_t>(1, std::thread::hardware_concurrency())),
        batcher_({.most = options.max_batch, .max_wait_ms = options.max_wait_ms}, metrics_) {
    require_protected(options_, token_);
    require(options_.max_images <= options_.queue,
            "serve: expected a queue of at least {}, the images that a request may have, got {}; set --queue or "
            "--max-images",
            options_.max_images, options_.queue);
    if (!options_.tls_cert.empty()) tls_.emplace(options_.tls_cert, options_.tls_key);
    listener_.emplace(options_, tls_ ? &*tls_ : nullptr);
    set_handlers();
    port_ = listener_->bind();
  }

  int64_t port() const { return port_; }
  std::string address() const {
    const bool is_v6 = options_.host.find(':') != std::string::npos;
    return fmt::format("{}://{}:{}/", tls_ ? "https" : "http", is_v6 ? "[" + options_.host + "]" : options_.host,
                       port_);
  }

  bool run(const std::function<bool()>& stopped) {
    using std::chrono::milliseconds;
    std::atomic<bool> failed = false;
    std::thread listening([&] { failed = !listener_->listen_after_bind(); });
    while (!stopped() && !failed) std::this_thread::sleep_for(milliseconds(20));

    listener_->drain();
    const auto idle_by = [&](Clock::time_point deadline) {
      while (listener_->under_way() > 0 && Clock::now() < deadline) std::this_thread::sleep_for(milliseconds(5));
      return listener_->under_way() == 0;
    };
    const bool done = idle_by(Clock::now() + for_seconds(options_.shutdown_s));
    batcher_.abandon();
    if (!done) idle_by(Clock::now() + std::chrono::seconds(1));  // for the answers that say so
    listener_->halt();
    while (!listener_->is_running() && !failed) std::this_thread::sleep_for(milliseconds(1));
    listener_->stop();
    const bool broken = failed;
    listening.join();
    require(!broken, "serve: expected connections, got an error of the system; start it again");
    return done;
  }

 private:
  void set_handlers() {
    auto& listener = *listener_;
    listener.set_default_headers({{"X-Content-Type-Options", "nosniff"}, {"Cache-Control", "no-store"}});
    listener.set_pre_routing_handler([this](const auto& request, auto& response) { return admit(request, response); });
    listener.set_expect_100_continue_handler([this](const auto& request, auto& response) {
      return request.method != "POST" || admit(request, response) == Handled::Unhandled ? 100 : response.status;
    });
    for (const Endpoint& endpoint : model_.endpoints) {
      listener.Post(
          "/v1/" + endpoint.name,
          [this, &endpoint](const httplib::Request& request, httplib::Response& response,
                            const httplib::ContentReader& reader) { answer(endpoint, request, response, reader); });
    }
    // What the library refuses by itself: lines that are no HTTP, paths and headers that are too long.
    listener.set_error_handler([this](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty() && !response.content_provider_) {
        metrics_.note_refusal("bad_request");
        put(response, error_answer("bad_request",
                                   "expected a request of HTTP/1.1 with a path and headers of at most 8 "
                                   "KiB, got another"));
      }
    });
    listener.set_post_routing_handler([](const httplib::Request&, httplib::Response& response) {
      response.headers.erase("Keep-Alive");  // the library's own times, which are not ours
    });
    listener.set_logger([this](const httplib::Request& request, const httplib::Response& response) {
      const auto received = received_at(request);
      const double taken_s = received == Clock::time_point{} ? 0 : seconds_since(received);
      metrics_.note_request(label_of(request.path), response.status, taken_s);
    });
  }

  std::string label_of(const std::string& path) const {
    try {
      return route_of(path, model_, gallery_ != nullptr).path;
    } catch (const Refusal&) {
      return "other";
    }
  }

  /// Answers what needs no body to be read, and refuses what cannot be answered. The rest goes on to answer().
  Handled admit(const httplib::Request& request, httplib::Response& response) {
    guarded(
        response, [&] { return announces_body(request); },
        [&] {
          const Route route = route_for(request, response);
          if (route.kind == RouteKind::kEndpoint) {
            require_open();
            if (!request.params.empty()) {
              refuse(400, "unexpected_query",
                     "expected a path without '?', got '{}'; flags of `beit serve` say what it "
                     "answers",
                     on_one_line(request.params.begin()->first));
            }
            accepted_form(request.get_header_value("Accept"), *route.endpoint);
            check_announced(request, most_bytes());
          } else {
            if (announces_body(request)) refuse(400, "unexpected_body", "expected no body, got one");
            show(route, response);
            response.status = response.status == -1 ? 200 : response.status;
          }
        });
    return response.status == -1 ? Handled::Unhandled : Handled::Handled;
  }

  Route route_for(const httplib::Request& request, httplib::Response& response) const {
    if (token_.empty()) {
      const std::string host = request.get_header_value("Host");
      if (!is_host_of_this_machine(host)) {
        refuse(403, "foreign_host",
               "Host: expected this machine, as 127.0.0.1, got '{}'; serve others with --token-file",
               on_one_line(host));
      }
      if (request.has_header("Origin") && !is_page_of_this_machine(request.get_header_value("Origin"))) {
        refuse(403, "foreign_origin",
               "Origin: expected a page of this machine, got another; let that one bear a token");
      }
    }
    if (!token_.empty() && !is_open(request.path)) {
      constexpr std::string_view kBearer = "Bearer ";
      const std::string given = request.get_header_value("Authorization");
      if (!given.starts_with(kBearer) || !equal_in_constant_time(given.substr(kBearer.size()), token_)) {
        response.set_header("WWW-Authenticate", "Bearer");
        refuse(401, "unauthorized", "Authorization: expected Bearer and the server's token, got {}",
               given.empty() ? "none" : "another");
      }
    }
    Route route = route_of(request.path, model_, gallery_ != nullptr);
    if (!route.takes(request.method)) {
      response.set_header("Allow", std::string(route.methods()));
      refuse(405, "method_not_allowed", "{}: expected {}, got {}", route.path, route.methods(), request.method);
    }
    return route;
  }

  void show(const Route& route, httplib::Response& response) {
    switch (route.kind) {
      case RouteKind::kPage:
        response.set_header("Content-Security-Policy", kPolicy);
        put(response, {page_type(route.file), std::string(web_file(route.file).text)});
        break;
      case RouteKind::kHealth:
        require_open();
        put(response, {"application/json", "{\"status\":\"ok\"}\n"});
        break;
      case RouteKind::kMetrics:
        put(response, {"text/plain; version=0.0.4; charset=utf-8",
                       metrics_.text({batcher_.queued(), room_.taken(), listener_->connections()})});
        break;
      case RouteKind::kModel: put(response, {"application/json", json_text(facts()) + "\n"}); break;
      case RouteKind::kCode: show_code(route, response); break;
      case RouteKind::kEndpoint: break;
    }
  }

  void show_code(const Route& route, httplib::Response& response) {
    const int64_t code = route.code;
    if (code >= gallery_->codes()) {
      refuse(404, "not_found", "expected a code below {}, got {}", gallery_->codes(), code);
    }
    if (route.example < 0) {
      put(response, {"application/json", json_text(gallery_->describe(code)) + "\n"});
      return;
    }
    if (route.example >= gallery_->examples(code)) {
      refuse(404, "not_found", "expected one of {} examples of code {}, got {}", gallery_->examples(code), code,
             route.example);
    }
    const auto place = decoders_.take(1, Clock::now() + for_seconds(options_.timeout_s));
    if (!place) refuse_late();
    const auto png = gallery_->picture(code, route.example);
    put(response, {"image/png", std::string(png.begin(), png.end())});
  }

  Json facts() const {
    Json facts = model_.facts;
    facts["endpoints"] = Json::array();
    for (const Endpoint& endpoint : model_.endpoints) facts["endpoints"].push_back("/v1/" + endpoint.name);
    facts["gallery"] = gallery_ != nullptr;
    facts["apply_orientation"] = options_.apply_orientation;
    facts["limits"] = {{"images", options_.max_images},
                       {"body_bytes", most_bytes()},
                       {"pixels", options_.max_pixels},
                       {"batch", options_.max_batch}};
    return facts;
  }

  void answer(const Endpoint& endpoint, const httplib::Request& request, httplib::Response& response,
              const httplib::ContentReader& reader) {
    bool read = false;
    guarded(
        response, [&] { return !read; },
        [&] {
          const auto deadline = received_at(request) + for_seconds(options_.timeout_s);
          const AnswerForm form = accepted_form(request.get_header_value("Accept"), endpoint);
          auto first = places(1);
          auto images = read_images(request, reader, {most_bytes(), options_.max_images, deadline});
          read = true;
          check_count(form, images.size());
          const auto held = std::make_shared<const std::pair<Room::Places, Room::Places>>(
              std::move(first), places(std::ssize(images) - 1));
          auto prepared = prepare(endpoint, images, deadline);
          std::vector<AnsweredImage> answered;
          for (size_t i = 0; i < images.size(); ++i) {
            answered.push_back({std::move(images[i].name), prepared[i].size, {}});
            prepared[i].held = held;
          }
          images.clear();
          auto futures = batcher_.submit(endpoint, std::move(prepared), deadline);
          for (size_t i = 0; i < futures.size(); ++i) {
            if (futures[i].wait_until(deadline) != std::future_status::ready) refuse_late();
            answered[i].tensors = futures[i].get();
          }
          put(response, answer_of(endpoint, form, answered));
          response.status = 200;
        });
  }

  Room::Places places(int64_t count) {
    auto places = room_.take(count);
    if (!places) {
      refuse(503, "queue_full", "expected at most {} images under way, got more; ask again in a second", room_.most());
    }
    return std::move(*places);
  }

  /// As many images at once as there are cores, of all requests.
  std::vector<PreparedImage> prepare(const Endpoint& endpoint, const std::vector<RequestImage>& images,
                                     Clock::time_point deadline) {
    std::vector<PreparedImage> prepared(images.size());
    const int64_t pixels = std::min(options_.max_pixels, endpoint.most_pixels);
    const auto cores = static_cast<int64_t>(std::max(1U, std::thread::hardware_concurrency()));
    for_each_parallel(std::ssize(images), cores, [&](int64_t number) {
      const torch::NoGradGuard no_grad;  // of this thread
      const auto i = static_cast<size_t>(number);
      const auto place = decoders_.take(1, deadline);
      if (!place) refuse_late();
      const std::string name = called(images[i], i);
      const auto* bytes = reinterpret_cast<const uint8_t*>(images[i].bytes.data());
      try {
        EncodedImage image({bytes, images[i].bytes.size()}, name, options_.apply_orientation, pixels);
        prepared[i] = endpoint.prepare(image);
      } catch (const TooManyPixels& error) {
        refuse(413, "too_many_pixels", "{}", error.what());
      } catch (const Error& error) {
        refuse(422, "broken_image", "{}", error.what());
      }
    });
    return prepared;
  }

  [[noreturn]] void refuse_late() const {
    refuse(504, "timeout", "expected an answer within {} s, got none; send fewer images, or ask again later",
           options_.timeout_s);
  }

  void require_open() const {
    if (listener_->is_draining()) {
      refuse(503, "shutting_down", "expected a server that goes on, got one that ends; ask again later");
    }
  }

  /// Does the work, and makes a refusal of what it throws; one that closes the connection where `unread` says that the
  /// request's body, or a part of it, was not read.
  template <class Unread, class Work>
  void guarded(httplib::Response& response, const Unread& unread, const Work& work) {
    const auto say = [&](const Refusal& refusal) {
      metrics_.note_refusal(refusal.code());
      response.status = refusal.status();
      response.body.clear();
      response.headers.erase("Content-Type");
      if (refusal.status() == 503) response.set_header("Retry-After", "1");
      Answer answer = error_answer(refusal.code(), refusal.what());
      unread() ? put_and_close(response, std::move(answer)) : put(response, std::move(answer));
    };
    try {
      work();
    } catch (const Refusal& refusal) {
      say(refusal);
    } catch (const std::exception& error) {
      if (is_out_of_memory(error)) {
        return say({503, "out_of_memory", "expected memory for the images, got none; send fewer or smaller ones"});
      }
      log().warn("serve: expected an answer, got: {}", on_one_line(first_line(error.what())));
      say({500, "internal", "expected an answer, got an error that the server's log tells"});
    }
  }

  uint64_t most_bytes() const { return static_cast<uint64_t>(options_.max_body_mib) << 20; }

  const ServedModel model_;
  const ServeOptions options_;
  const std::unique_ptr<const CodeGallery> gallery_;
  const std::string token_;
  Metrics metrics_;
  Room room_;
  Room decoders_;
  std::optional<TlsContext> tls_;
  std::optional<Listener> listener_;
  int64_t port_ = 0;
  Batcher batcher_;
};

Server::Server(ServedModel model, const ServeOptions& options, std::unique_ptr<const CodeGallery> gallery)
    : service_(std::make_unique<Service>(std::move(model), options, std::move(gallery))) {}
Server::~Server() = default;

int64_t Server::port() const { return service_->port(); }
std::string Server::address() const { return service_->address(); }
bool Server::run(const std::function<bool()>& stopped) { return service_->run(stopped); }

}  // namespace beit
