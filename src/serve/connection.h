// One connection of a client: bytes in and out, in the clear or by TLS, each with a deadline.
#pragma once

#include <httplib.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"

namespace beit {

/// Something that happens once, and wakes what waits for it. Thread-safe.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void set();
  bool is_set() const;
  int descriptor() const { return descriptor_; }  ///< readable once it happened

 private:
  int descriptor_;
};

/// The certificate and key that a server shows. Error for files that are none, or do not belong together.
class TlsContext {
 public:
  TlsContext(const std::string& certificate, const std::string& key);

  SSL_CTX* get() const { return context_.get(); }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  std::unique_ptr<SSL_CTX, Free> context_;
};

/// Used by one thread. A read fails (-1) at the deadline, a write where nothing moves for kMostWriting; both once
/// `halt` is set.
class Connection final : public httplib::Stream {
 public:
  /// Takes the socket. `tls` may be null; that and `halt` must outlive it.
  Connection(int socket, const TlsContext* tls, const Event& halt);
  /// Closes it.
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  static constexpr std::chrono::seconds kMostWriting{10};

  void set_deadline(Clock::time_point deadline) { deadline_ = deadline; }
  /// Reads fail (-1) from then on once they gave so many bytes.
  void set_most_read(size_t bytes) { unspent_ = bytes; }

  /// Shakes hands, where there is TLS to.
  bool open();
  /// Waits for a request's first byte until the deadline; with `until`, at most until that is set.
  bool wait(const Event* until);
  /// Says that no more is coming, and waits a moment for the client to have read it: what it still sends is dropped. A
  /// socket closed with bytes unread would take the answer from it.
  void linger();

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* data, size_t size) override;
  ssize_t write(const char* data, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const;  // of the library, too, from a later version on
  socket_t socket() const override { return socket_; }
  SSL* ssl() const { return ssl_.get(); }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  /// Waits until the socket is ready for `events` (of poll()); false at `deadline`, at `halt` and at `until`.
  bool ready(short events, Clock::time_point deadline, const Event* until = nullptr) const;
  /// What came at once; 0 at the end, -1 where nothing did: then `wanted_` says what to wait for, 0 being an error.
  ssize_t try_read(char* data, size_t size);
  ssize_t try_write(const char* data, size_t size);
  ssize_t tls_result(int result);

  int socket_;
  const Event& halt_;
  bool secured_;
  std::unique_ptr<SSL, Free> ssl_;
  Clock::time_point deadline_ = Clock::time_point::max();
  short wanted_ = 0;
  std::array<char, 16384> buffer_{};  // the library asks for lines byte by byte
  size_t begin_ = 0, end_ = 0;        // of what is unread in it
  size_t unspent_ = SIZE_MAX;         // bytes that may still be read
};

}  // namespace beit
