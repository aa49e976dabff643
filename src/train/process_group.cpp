#define USE_C10D_GLOO  // LibTorch's name for: declare ProcessGroupGloo
#include "train/process_group.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "train/rank_place.h"

namespace beit {
namespace {

/// A file descriptor that is closed at the end, unless it was released to somebody else.
class Socket {
 public:
  Socket(int family, int type) : number_(socket(family, type | SOCK_CLOEXEC, 0)) {
    require(number_ >= 0, "ranks: expected a socket, got an error of the system; are too many files open?");
  }
  ~Socket() {
    if (number_ >= 0) close(number_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int number() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

using Addresses = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

Addresses addresses_of(const RankPlace& place, int type) {
  addrinfo hints{};
  hints.ai_socktype = type;
  addrinfo* found = nullptr;
  const int status = getaddrinfo(place.host.c_str(), std::to_string(place.port).c_str(), &hints, &found);
  require(status == 0, "ranks: expected MASTER_ADDR to be the address of a machine, got '{}': {}", place.host,
          gai_strerror(status));
  return {found, freeaddrinfo};
}

/// The address of this machine from which packets to the store's leave, in numbers.
std::string own_address_towards(const RankPlace& place) {
  const Addresses addresses = addresses_of(place, SOCK_DGRAM);
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    const Socket socket(address->ai_family, SOCK_DGRAM);  // connecting it sends nothing
    sockaddr_storage own{};
    socklen_t length = sizeof(own);
    char text[NI_MAXHOST] = {};
    if (connect(socket.number(), address->ai_addr, address->ai_addrlen) == 0 &&
        getsockname(socket.number(), reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
        getnameinfo(reinterpret_cast<sockaddr*>(&own), length, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0) {
      return text;
    }
  }
  fail("ranks: expected a network that reaches MASTER_ADDR, got none to '{}'; set GLOO_SOCKET_IFNAME", place.host);
}

/// Whether something takes connections there; asked for a second at most.
bool answers(const RankPlace& place) {
  const Addresses addresses = addresses_of(place, SOCK_STREAM);
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    const Socket socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK);
    if (connect(socket.number(), address->ai_addr, address->ai_addrlen) == 0) return true;
    pollfd waiting{.fd = socket.number(), .events = POLLOUT, .revents = 0};
    int error = errno;
    socklen_t length = sizeof(error);
    if (error == EINPROGRESS && poll(&waiting, 1, 1000) == 1 &&
        getsockopt(socket.number(), SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0) {
      return true;
    }
  }
  return false;
}

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "::1"; }

std::vector<std::shared_ptr<gloo::transport::Device>> gloo_devices(const RankPlace& place) {
  if (const char* names = std::getenv("GLOO_SOCKET_IFNAME"); names != nullptr && *names != '\0') {
    std::vector<std::shared_ptr<gloo::transport::Device>> devices;
    const std::string text = names;
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.size(), text.find(',', begin));
      devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(text.substr(begin, end - begin)));
      begin = end + 1;
    }
    return devices;
  }
  const std::string address = own_address_towards(place);
  require(
      place.local_ranks == place.ranks || !is_loopback(address),
      "ranks: expected MASTER_ADDR to be an address that other machines reach, got '{}', which is {} here; give the "
      "address of rank 0's machine in numbers, or the interface in GLOO_SOCKET_IFNAME",
      place.host, address);
  return {c10d::ProcessGroupGloo::createDeviceForHostname(address)};
}

/// The store's server and Gloo write to connections that others may have closed: an error for them, not the end.
void survive_closed_connections() {
  struct sigaction now {};
  if (sigaction(SIGPIPE, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) std::signal(SIGPIPE, SIG_IGN);
}

c10d::TCPStoreOptions store_options(const RankPlace& place, std::chrono::milliseconds timeout) {
  survive_closed_connections();
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(place.port);
  options.waitWorkers = false;
  options.timeout = timeout;
  return options;
}

}  // namespace

LoopbackStore::LoopbackStore() {
  Socket listener(AF_INET, SOCK_STREAM);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  require(bind(listener.number(), reinterpret_cast<const sockaddr*>(&address), length) == 0 &&
              listen(listener.number(), SOMAXCONN) == 0 &&
              getsockname(listener.number(), reinterpret_cast<sockaddr*>(&address), &length) == 0,
          "ranks: expected a free port on the loopback interface, got an error of the system");
  port_ = ntohs(address.sin_port);
  c10d::TCPStoreOptions options = store_options({.port = port_}, std::chrono::seconds(10));
  options.isServer = true;
  options.masterListenFd = listener.release();
  store_ = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
}

LoopbackStore::~LoopbackStore() = default;

c10::intrusive_ptr<c10d::Store> serve_store(const RankPlace& place, std::chrono::milliseconds timeout) try {
  c10d::TCPStoreOptions options = store_options(place, timeout);
  options.isServer = true;
  return c10::make_intrusive<c10d::TCPStore>(place.host, options);
} catch (const c10::Error& error) {
  fail(
      "ranks: expected rank 0 to serve its store at {}:{}, got an error: {}; choose another MASTER_PORT, and as "
      "MASTER_ADDR the machine of rank 0",
      place.host, place.port, first_line(error.what_without_backtrace()));
}

c10::intrusive_ptr<c10d::Store> connect_store(const RankPlace& place, std::chrono::milliseconds timeout) {
  // LibTorch's own waiting takes the timeout several times over, and prints. A name may be known later than we start.
  for (const auto start = Clock::now();;) {
    std::string found = "no answer";
    try {
      if (answers(place)) break;
    } catch (const Error& error) {
      found = error.what();
    }
    require(Clock::now() - start < timeout,
            "ranks: expected {} to serve a store at {}:{} within {:.0f} s, got {}; see its own message, or raise "
            "--rank-timeout",
            place.store_is_hosted ? "the starter" : "rank 0", place.host, place.port,
            std::chrono::duration<double>(timeout).count(), found);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  auto store = c10::make_intrusive<c10d::TCPStore>(place.host, store_options(place, timeout));
  return c10::make_intrusive<c10d::PrefixStore>("beit/" + place.run, store);
}

c10::intrusive_ptr<c10d::ProcessGroup> connect_group(const c10::intrusive_ptr<c10d::Store>& store,
                                                     const RankPlace& place, const c10::Device& device,
                                                     std::chrono::milliseconds timeout) {
  using Group = c10d::ProcessGroup;
  const int rank = static_cast<int>(place.rank), ranks = static_cast<int>(place.ranks);
  auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  options->devices = gloo_devices(place);
  c10::intrusive_ptr<c10d::Store> gloo_store = c10::make_intrusive<c10d::PrefixStore>("gloo", store);
  auto group = c10::make_intrusive<Group>(store, rank, ranks);
  c10::intrusive_ptr<c10d::Backend> gloo =
      c10::make_intrusive<c10d::ProcessGroupGloo>(gloo_store, rank, ranks, options);
  group->setBackend(c10::DeviceType::CPU, Group::BackendType::GLOO, gloo);
  group->setDefaultBackend(Group::BackendType::GLOO);
  if (device.is_cuda()) {
#ifdef BEIT_HAS_NCCL
    c10::intrusive_ptr<c10d::Store> nccl_store = c10::make_intrusive<c10d::PrefixStore>("nccl", store);
    group->setBackend(c10::DeviceType::CUDA, Group::BackendType::NCCL, connect_nccl(nccl_store, rank, ranks, timeout));
    group->setDefaultBackend(Group::BackendType::NCCL);
#else
    fail(
        "ranks: expected a program built with NCCL to join GPUs, got one without, as NVIDIA's headers (nccl.h, "
        "cuda_runtime_api.h) were not there; fetch them with `make setup GPU=yes` and build anew, or use --device cpu");
#endif
  }
  return group;
}

}  // namespace beit
