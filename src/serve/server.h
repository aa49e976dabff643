// The network over HTTP: which paths there are, what they take and what they answer (docs/SERVING.md).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "serve/code_gallery.h"
#include "serve/options.h"
#include "serve/served_model.h"

namespace beit {

class Server {
 public:
  /// Listens from here on; what comes is answered once run() is called. `gallery` may be null. Error as of
  /// require_protected(), token_of(), TlsContext and Listener::bind().
  Server(ServedModel model, const ServeOptions& options, std::unique_ptr<const CodeGallery> gallery = nullptr);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int64_t port() const;
  /// "http://127.0.0.1:8080/"
  std::string address() const;

  /// Answers requests until `stopped` says so. Then new ones are refused, and those under way have
  /// options.shutdown_s; what is not done by then is refused too. Returns whether all was done. Called once.
  bool run(const std::function<bool()>& stopped);

 private:
  class Service;
  std::unique_ptr<Service> service_;
};

}  // namespace beit
