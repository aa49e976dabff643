// Which paths a server has.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/served_model.h"

namespace beit {

enum class RouteKind { kPage, kHealth, kMetrics, kModel, kCode, kEndpoint };

struct Route {
  RouteKind kind = RouteKind::kPage;
  std::string path;                    ///< as metrics name it: of codes `/v1/codes/ID`
  const Endpoint* endpoint = nullptr;  ///< of kEndpoint
  std::string_view file = {};          ///< of kPage: in web/
  int64_t code = 0, example = -1;      ///< of kCode; -1: the code itself

  bool takes(std::string_view method) const;
  std::string_view methods() const;  ///< for the header Allow
};

/// Refusal (404) where there is no such path, or the network has not what it names.
Route route_of(std::string_view path, const ServedModel& model, bool has_gallery);

/// Whether a path is for those without a token, too: the page and the health.
bool is_open(std::string_view path);

/// Whether the header Host, if there is one, names this machine as is_loopback() has it, with or without a port. A page
/// from elsewhere whose name was made to lead here does not.
bool is_host_of_this_machine(std::string_view host);

/// The same of the header Origin, a scheme and a host: pages from elsewhere can ask, though they cannot read.
bool is_page_of_this_machine(std::string_view origin);

/// Whether two texts are equal, in a time that does not tell where they differ.
bool equal_in_constant_time(std::string_view given, std::string_view wanted);

}  // namespace beit
