#include "serve/listener.h"

#include <sys/socket.h>

#include <charconv>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "serve/answers.h"

namespace beit {
namespace {

constexpr const char* kReceived = "beit-received-ns";  // a header of ours, as the library adds REMOTE_ADDR
constexpr size_t kMostHead = size_t{256} << 10;        // bytes of a request before its body

/// A thread for each connection, as many as there are at a time: one that is idle costs no more than its stack.
class ConnectionThreads final : public httplib::TaskQueue {
 public:
  explicit ConnectionThreads(size_t most) : most_(most) {}
  ~ConnectionThreads() override { shutdown(); }

  void enqueue(std::function<void()> serve) override {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(serve));
      if (waiting_.size() > idle_ && threads_.size() < most_) add_thread();
    }
    changed_.notify_one();
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void add_thread() {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {  // it waits for one that there is
      log().warn("serve: expected a thread for a connection, got: {}", error.what());
    }
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      changed_.wait(lock, [&] { return ended_ || !waiting_.empty(); });
      --idle_;
      if (waiting_.empty()) return;
      const auto serve = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      try {
        serve();
      } catch (const std::exception& error) {  // out of memory, above all; the connection is closed
        log().warn("serve: a connection ended early: {}", on_one_line(error.what()));
      }
      lock.lock();
    }
  }

  const size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool ended_ = false;
};

/// Counts itself.
class Counted {
 public:
  explicit Counted(std::atomic<int64_t>& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<int64_t>& count_;
};

}  // namespace

Clock::time_point received_at(const httplib::Request& request) {
  const std::string text = request.get_header_value(kReceived);
  Clock::rep count = 0;
  std::from_chars(text.data(), text.data() + text.size(), count);
  return Clock::time_point(Clock::duration(count));
}

Listener::Listener(const ServeOptions& options, const TlsContext* tls) : options_(options), tls_(tls) {
  // Beyond the connections that are served some are told that there are too many.
  constexpr int64_t kToldNo = 16;
  new_task_queue = [most = static_cast<size_t>(options.connections + kToldNo)] { return new ConnectionThreads(most); };
  // The library's own choice lets two servers share a port.
  set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  set_payload_max_length(static_cast<size_t>(options.max_body_mib) << 20);
}

int64_t Listener::bind() {
  const int port = static_cast<int>(options_.port);
  const int bound = port == 0 ? bind_to_any_port(options_.host) : bind_to_port(options_.host, port) ? port : -1;
  require(bound > 0, "serve: expected to listen at {} port {}, got no such address or one in use; set --host or --port",
          options_.host, options_.port);
  ::listen(svr_sock_, SOMAXCONN);  // the library's own queue has five places
  return bound;
}

bool Listener::process_and_close_socket(socket_t socket) {
  const auto arrived = Clock::now();
  Connection connection(socket, tls_, halt_);
  const Counted open(connections_);

  connection.set_deadline(arrived + for_seconds(options_.timeout_s));
  if (!connection.open()) return false;
  if (connections_ > options_.connections) {
    const Answer answer =
        error_answer("too_many_connections", "expected fewer connections at a time, got too many; close idle ones");
    const std::string text = fmt::format(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {}\r\nRetry-After: 1\r\nConnection: "
        "close\r\nContent-Length: "
        "{}\r\n\r\n{}",
        answer.type, answer.body.size(), answer.body);
    connection.write(text.data(), text.size());
    connection.linger();
    return false;
  }

  bool first = true;
  while (true) {
    // A new connection's first request is answered, if only by a refusal; an old connection ends where it is idle.
    const auto idle = for_seconds(first ? options_.timeout_s : options_.keep_alive_s);
    connection.set_deadline(Clock::now() + idle);
    if (!connection.wait(first ? nullptr : &drain_)) break;
    first = false;
    const auto received = Clock::now();
    connection.set_deadline(received + for_seconds(options_.timeout_s));
    const Counted one(under_way_);
    connection.set_most_read(kMostHead);  // the library bounds lines once it has them, not their number
    bool closed = false, understood = false, may_go_on = true;
    const auto set_up = [&](httplib::Request& request) {
      understood = true;
      // What frames a body may be twice as long; the library counts neither a part's headers nor those of chunks.
      connection.set_most_read((static_cast<size_t>(options_.max_body_mib) << 21) + kMostHead);
      // Its answer has no body whose provider could end the connection (see server.cpp).
      may_go_on = request.method != "HEAD" ||
                  !(request.has_header("Content-Length") || request.has_header("Transfer-Encoding"));
      request.headers.erase("Accept-Encoding");
      request.headers.erase(kReceived);
      request.ranges.clear();
      request.set_header(kReceived, std::to_string(received.time_since_epoch().count()));
      request.ssl = connection.ssl();
    };
    const bool last = drain_.is_set();
    if (!process_request(connection, last, closed, set_up) || !understood || !may_go_on) {
      connection.linger();  // part of the request may be unread
      break;
    }
    if (closed || last) break;
  }
  return true;
}

}  // namespace beit
