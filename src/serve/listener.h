// The library's server with connections of our own: threads that grow with them, deadlines, and an end that waits for
// what is under way.
#pragma once

#include <httplib.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "serve/connection.h"
#include "serve/options.h"

namespace beit {

/// When the first byte of a request came, or its connection, whichever was later.
Clock::time_point received_at(const httplib::Request& request);

/// Handlers are set as of httplib::Server; they see no Range and no Accept-Encoding: answers are whole and as they are.
/// An answer whose provider of content fails at the end closes the connection (see server.cpp).
class Listener final : public httplib::Server {
 public:
  /// `tls` may be null; else it must outlive this.
  Listener(const ServeOptions& options, const TlsContext* tls);

  /// The port that is bound to. Error where it cannot be.
  int64_t bind();

  /// From now on connections end after the request under way, and idle ones at once.
  void drain() { drain_.set(); }
  bool is_draining() const { return drain_.is_set(); }
  /// Reads and writes under way fail.
  void halt() { halt_.set(); }

  int64_t connections() const { return connections_; }
  /// Requests whose answer is not wholly sent yet.
  int64_t under_way() const { return under_way_; }

 private:
  bool process_and_close_socket(socket_t socket) override;

  const ServeOptions& options_;
  const TlsContext* tls_;
  Event drain_, halt_;
  std::atomic<int64_t> connections_ = 0, under_way_ = 0;
};

}  // namespace beit
