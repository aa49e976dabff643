#include "serve/routes.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "serve/options.h"
#include "serve/refusal.h"

namespace beit {
namespace {

constexpr std::string_view kCodes = "/v1/codes/", kVersion = "/v1/";

struct Page {
  std::string_view path, file;
};
constexpr std::array kPages{Page{"/", "serve.html"}, Page{"/serve.css", "serve.css"}, Page{"/serve.js", "serve.js"}};

/// The number that the text is, of at most nine digits.
std::optional<int64_t> number_of(std::string_view text) {
  int64_t number = 0;
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string_view::npos) return {};
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

/// ID, or ID/N.png.
std::optional<Route> code_route(std::string_view rest) {
  Route route{.kind = RouteKind::kCode, .path = "/v1/codes/ID"};
  const auto slash = rest.find('/');
  const auto code = number_of(rest.substr(0, slash));
  if (!code) return {};
  route.code = *code;
  if (slash == std::string_view::npos) return route;
  rest.remove_prefix(slash + 1);
  if (!rest.ends_with(".png")) return {};
  rest.remove_suffix(4);
  const auto example = number_of(rest);
  if (!example) return {};
  route.example = *example;
  route.path = "/v1/codes/ID/N.png";
  return route;
}

std::string named(const ServedModel& model) {
  std::string names;
  for (const Endpoint& endpoint : model.endpoints) names += (names.empty() ? "/v1/" : ", /v1/") + endpoint.name;
  return names;
}

}  // namespace

bool Route::takes(std::string_view method) const {
  return kind == RouteKind::kEndpoint ? method == "POST" : method == "GET" || method == "HEAD";
}

std::string_view Route::methods() const { return kind == RouteKind::kEndpoint ? "POST" : "GET, HEAD"; }

Route route_of(std::string_view path, const ServedModel& model, bool has_gallery) {
  for (const Page& page : kPages) {
    if (path == page.path) {
      return {.kind = RouteKind::kPage, .path = std::string(path), .endpoint = nullptr, .file = page.file};
    }
  }
  if (path == "/healthz") return {.kind = RouteKind::kHealth, .path = "/healthz"};
  if (path == "/metrics") return {.kind = RouteKind::kMetrics, .path = "/metrics"};
  if (path == "/v1/model") return {.kind = RouteKind::kModel, .path = "/v1/model"};
  if (path.starts_with(kCodes)) {
    const auto route = code_route(path.substr(kCodes.size()));
    if (route && has_gallery) return *route;
    if (route) refuse(404, "no_gallery", "expected a server with images, got one without; start it with --data PATH");
  } else if (path.starts_with(kVersion)) {
    const std::string_view name = path.substr(kVersion.size());
    for (const Endpoint& endpoint : model.endpoints) {
      if (name == endpoint.name) {
        return {.kind = RouteKind::kEndpoint, .path = std::string(path), .endpoint = &endpoint};
      }
    }
    constexpr std::array<std::string_view, 4> kOfOthers{"tokens", "features", "classify", "segment"};
    if (std::ranges::find(kOfOthers, name) != kOfOthers.end()) {
      refuse(404, "not_of_this_network", "/v1/{}: expected what a {} gives, got another path; it has {}", name,
             model.facts.value("network", "network"), named(model));
    }
  }
  refuse(404, "not_found", "expected /v1/model, /healthz, /metrics, {}{}, got another path",
         has_gallery ? "/v1/codes/ID of a whole number, " : "", named(model));
}

bool is_open(std::string_view path) {
  return path == "/healthz" || std::ranges::find(kPages, path, &Page::path) != kPages.end();
}

bool is_host_of_this_machine(std::string_view host) {
  if (host.empty()) return true;
  const bool is_v6 = host.starts_with('[');
  if (is_v6) host.remove_prefix(1);
  return is_loopback(std::string(host.substr(0, host.find(is_v6 ? ']' : ':'))));
}

bool is_page_of_this_machine(std::string_view origin) {
  const auto host = origin.find("://");
  return host != std::string_view::npos && origin.size() > host + 3 && is_host_of_this_machine(origin.substr(host + 3));
}

bool equal_in_constant_time(std::string_view given, std::string_view wanted) {
  return given.size() == wanted.size() && CRYPTO_memcmp(given.data(), wanted.data(), wanted.size()) == 0;
}

}  // namespace beit
