#include "serve/connection.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "base/error.h"

namespace beit {
namespace {

constexpr size_t kMostAtOnce = size_t{1} << 30;              // bytes; lengths of TLS are int
constexpr short kNothing = 0, kIn = POLLIN, kOut = POLLOUT;  // events of poll()

void address_of(int socket, bool remote, std::string& ip, int& port) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if ((remote ? ::getpeername(socket, generic, &length) : ::getsockname(socket, generic, &length)) != 0) return;
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> service{};
  if (::getnameinfo(generic, length, host.data(), host.size(), service.data(), service.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return;
  }
  ip = host.data();
  port = std::atoi(service.data());
}

/// OpenSSL's latest complaint.
std::string tls_reason() {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return text.data();
}

}  // namespace

Event::Event() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

Event::~Event() { ::close(descriptor_); }

void Event::set() {
  const eventfd_t one = 1;
  ::eventfd_write(descriptor_, one);
}

bool Event::is_set() const {
  pollfd one{.fd = descriptor_, .events = POLLIN, .revents = 0};
  return ::poll(&one, 1, 0) > 0;
}

TlsContext::TlsContext(const std::string& certificate, const std::string& key)
    : context_(SSL_CTX_new(TLS_server_method())) {
  if (context_ == nullptr) fail("TLS: expected OpenSSL to start, got: {}", tls_reason());
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_chain_file(context_.get(), certificate.c_str()) != 1) {
    fail("{}: expected a certificate in PEM form, got: {}; set --tls-cert to another file", certificate, tls_reason());
  }
  if (SSL_CTX_use_PrivateKey_file(context_.get(), key.c_str(), SSL_FILETYPE_PEM) != 1) {
    fail("{}: expected that certificate's private key in PEM form, got: {}; set --tls-key to another file", key,
         tls_reason());
  }
  require(SSL_CTX_check_private_key(context_.get()) == 1,
          "{}: expected the key of the certificate {}, got another; set --tls-key to its own", key, certificate);
}

Connection::Connection(int socket, const TlsContext* tls, const Event& halt)
    : socket_(socket), halt_(halt), secured_(tls != nullptr) {
  ::fcntl(socket_, F_SETFL, ::fcntl(socket_, F_GETFL) | O_NONBLOCK);
  ::fcntl(socket_, F_SETFD, FD_CLOEXEC);
  const int yes = 1;  // an answer is written in two parts, of which the second must not wait
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  if (tls != nullptr) {
    ssl_.reset(SSL_new(tls->get()));
    if (ssl_ != nullptr) SSL_set_fd(ssl_.get(), socket_);
  }
}

Connection::~Connection() { ::close(socket_); }

bool Connection::ready(short events, Clock::time_point deadline, const Event* until) const {
  std::array<pollfd, 3> sources{{{.fd = socket_, .events = events, .revents = 0},
                                 {.fd = halt_.descriptor(), .events = POLLIN, .revents = 0},
                                 {.fd = until == nullptr ? -1 : until->descriptor(), .events = POLLIN, .revents = 0}}};
  while (true) {
    int wait_ms = -1;
    if (deadline != Clock::time_point::max()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      if (left <= 0) return false;
      wait_ms = static_cast<int>(std::min<int64_t>(left, INT_MAX));
    }
    const int found = ::poll(sources.data(), sources.size(), wait_ms);
    if (found < 0 && errno != EINTR) return false;
    if (sources[1].revents != 0) return false;
    if (found > 0 && sources[0].revents != 0) return true;  // an error shows when it is read
    if (found > 0 && sources[2].revents != 0) return false;
  }
}

bool Connection::open() {
  if (ssl_ == nullptr) return !secured_;  // without memory for it there is no connection, rather than one in the clear
  while (true) {
    const int result = SSL_accept(ssl_.get());
    if (result == 1) return true;
    if (tls_result(result) == 0 || wanted_ == 0 || !ready(wanted_, deadline_)) return false;
  }
}

bool Connection::wait(const Event* until) {
  if (begin_ < end_) return true;
  if (ssl_ != nullptr && SSL_pending(ssl_.get()) > 0) return true;
  return ready(kIn, deadline_, until);
}

void Connection::linger() {
  constexpr auto kMoment = std::chrono::seconds(2);
  constexpr size_t kMostDropped = size_t{16} << 20;
  if (ssl_ != nullptr && SSL_shutdown(ssl_.get()) < 0) ERR_clear_error();
  ::shutdown(socket_, SHUT_WR);
  const auto deadline = Clock::now() + kMoment;
  for (size_t dropped = 0; dropped < kMostDropped && ready(kIn, deadline);) {
    const ssize_t count = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return;
    dropped += static_cast<size_t>(std::max<ssize_t>(count, 0));
  }
}

// As try_read() has it.
ssize_t Connection::tls_result(int result) {
  wanted_ = 0;
  if (result > 0) return result;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ: wanted_ = kIn; return -1;
    case SSL_ERROR_WANT_WRITE: wanted_ = kOut; return -1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default: ERR_clear_error(); return -1;
  }
}

ssize_t Connection::try_read(char* data, size_t size) {
  if (ssl_ != nullptr) return tls_result(SSL_read(ssl_.get(), data, static_cast<int>(std::min(size, kMostAtOnce))));
  const ssize_t count = ::recv(socket_, data, size, 0);
  wanted_ = count < 0 && (errno == EAGAIN || errno == EINTR) ? kIn : kNothing;
  return count;
}

ssize_t Connection::try_write(const char* data, size_t size) {
  if (ssl_ != nullptr) return tls_result(SSL_write(ssl_.get(), data, static_cast<int>(std::min(size, kMostAtOnce))));
  const ssize_t count = ::send(socket_, data, size, MSG_NOSIGNAL);
  wanted_ = count < 0 && (errno == EAGAIN || errno == EINTR) ? kOut : kNothing;
  return count;
}

ssize_t Connection::read(char* data, size_t size) {
  if (unspent_ == 0) return -1;
  size = std::min(size, unspent_);
  if (begin_ == end_) {
    const bool direct = size >= buffer_.size();
    while (true) {
      const ssize_t count = direct ? try_read(data, size) : try_read(buffer_.data(), buffer_.size());
      if (count >= 0 && direct) {
        unspent_ -= static_cast<size_t>(count);
        return count;
      }
      if (count == 0) return 0;
      if (count > 0) {
        begin_ = 0;
        end_ = static_cast<size_t>(count);
        break;
      }
      if (wanted_ == 0 || !ready(wanted_, deadline_)) return -1;
    }
  }
  const size_t taken = std::min(size, end_ - begin_);
  std::memcpy(data, buffer_.data() + begin_, taken);
  begin_ += taken;
  unspent_ -= taken;
  return static_cast<ssize_t>(taken);
}

ssize_t Connection::write(const char* data, size_t size) {
  if (size == 0) return 0;
  while (true) {
    const ssize_t count = try_write(data, size);
    if (count > 0) return count;
    if (wanted_ == 0 || !ready(wanted_, Clock::now() + kMostWriting)) return -1;
  }
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const { address_of(socket_, true, ip, port); }
void Connection::get_local_ip_and_port(std::string& ip, int& port) const { address_of(socket_, false, ip, port); }

}  // namespace beit
