#include "train/events.h"

#include <doctest/doctest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "data/image.h"
#include "io/safetensors.h"
#include "tests/support.h"
#include "train/events.pb.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Bit by bit, and so unlike the writer's.
uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) == 1 ? 0x82f63b78U : 0U);
  }
  return ~crc;
}

uint32_t masked(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

uint64_t number(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

/// The events of a file, whose every record must be whole.
std::vector<tensorboard::Event> events_of(const fs::path& path) {
  const std::string bytes = bytes_of(path);
  std::string_view rest = bytes;
  std::vector<tensorboard::Event> events;
  while (!rest.empty()) {
    REQUIRE(rest.size() >= 16);
    const auto length = rest.substr(0, 8);
    const uint64_t size = number(length);
    CHECK(number(rest.substr(8, 4)) == masked(crc32c(length)));
    REQUIRE(rest.size() >= 16 + size);
    const auto message = rest.substr(12, size);
    CHECK(number(rest.substr(12 + size, 4)) == masked(crc32c(message)));
    REQUIRE(events.emplace_back().ParseFromArray(message.data(), static_cast<int>(size)));
    rest.remove_prefix(16 + size);
  }
  return events;
}

/// Of an event that holds just one.
const tensorboard::Summary::Value& value_of(const tensorboard::Event& event) {
  REQUIRE(event.summary().value_size() == 1);
  return event.summary().value(0);
}

/// What the log says of errors while this lives.
class Errors {
 public:
  Errors() { log().sinks().push_back(sink_); }
  ~Errors() { log().sinks().pop_back(); }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  spdlog::sink_ptr sink_ = std::make_shared<spdlog::sinks::ostream_sink_mt>(text_);
};

/// Files may have at most so many bytes while this lives.
class FullDisk {
 public:
  explicit FullDisk(uint64_t bytes) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const struct rlimit small { .rlim_cur = bytes, .rlim_max = before_.rlim_max };
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  struct rlimit before_ {};
  void (*handler_)(int) = std::signal(SIGXFSZ, SIG_IGN);
};

TEST_CASE("events: a file begins with the bytes that every event file begins with") {
  REQUIRE(crc32c("123456789") == 0xe3069283);  // the check value of CRC-32C
  const TemporaryFolder folder;
  const EventWriter writer(folder.path / "events", 0);
  // A length of 24 and its masked checksum, as TensorFlow writes them.
  CHECK(bytes_of(writer.path()).substr(0, 12) == std::string("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22", 12));
  const auto events = events_of(writer.path());
  REQUIRE(events.size() == 2);
  CHECK(events[0].file_version() == "brain.Event:2");
  CHECK(writer.path().filename().string().starts_with("events.out.tfevents."));
}

TEST_CASE("events: what is written reads back, beside LibTorch's own copy of protobuf") {
  const TemporaryFolder folder;
  EventWriter writer(folder.path, 7);
  writer.scalar("loss", 0.1, 8);
  const auto pixels_HWC = torch::arange(2 * 3 * 3).view({2, 3, 3}).to(torch::kUInt8);
  writer.image("picture", pixels_HWC, 9);
  const auto events = events_of(writer.path());  // whole although the writer has not ended
  REQUIRE(events.size() == 4);
  CHECK(events[1].session_log().status() == tensorboard::SessionLog::START);
  CHECK(events[1].step() == 8);
  CHECK(events[2].step() == 8);
  CHECK(value_of(events[2]).tag() == "loss");
  CHECK(value_of(events[2]).simple_value() == 0.1F);
  CHECK(events[2].wall_time() >= events[0].wall_time());
  CHECK(events[3].step() == 9);
  const auto& image = value_of(events[3]).image();
  CHECK(image.height() == 2);
  CHECK(image.width() == 3);
  CHECK(image.colorspace() == 3);
  const std::string& png = image.encoded_image_string();
  CHECK(torch::equal(decode_image({reinterpret_cast<const uint8_t*>(png.data()), png.size()}, "png"), pixels_HWC));
  CHECK_THROWS_AS(writer.image("picture", torch::zeros({2, 3}, torch::kUInt8), 9), Error);
}

TEST_CASE("events: a histogram counts every finite value once, from the least to the most") {
  const TemporaryFolder folder;
  EventWriter writer(folder.path, 0);
  const double infinity = std::numeric_limits<double>::infinity();
  writer.histogram("some", torch::tensor({{0.0, 3.0}, {30.0, 0.5}, {infinity, std::nan("")}}, torch::kFloat64), 1);
  writer.histogram("alike", torch::full({5}, 2, torch::kInt64), 2);
  writer.histogram("none", torch::full({5}, infinity), 3);
  const auto events = events_of(writer.path());
  REQUIRE(events.size() == 4);
  const auto& some = value_of(events[2]).histo();
  CHECK(some.min() == 0);
  CHECK(some.max() == 30);
  CHECK(some.num() == 4);
  CHECK(some.sum() == 33.5);
  CHECK(some.sum_squares() == 9 + 900 + 0.25);
  REQUIRE(some.bucket_size() == 30);
  REQUIRE(some.bucket_limit_size() == 30);
  CHECK(some.bucket(0) == 2);
  CHECK(some.bucket(3) == 1);
  CHECK(some.bucket(29) == 1);
  CHECK(some.bucket_limit(3) == doctest::Approx(4));
  const auto& alike = value_of(events[3]).histo();
  REQUIRE(alike.bucket_size() == 1);
  CHECK(alike.bucket(0) == 5);
  CHECK(alike.bucket_limit(0) == 2);
}

TEST_CASE("events: after a kill within a record a new file begins, and the old one stays as it was") {
  const TemporaryFolder folder;
  std::string killed;
  {
    EventWriter writer(folder.path, 0);
    for (int64_t step = 1; step <= 4; ++step) writer.scalar("loss", 1, step);
    killed = writer.path();
  }
  fs::resize_file(killed, fs::file_size(killed) - 5);
  const std::string before = bytes_of(killed);
  EventWriter resumed(folder.path, 2);
  resumed.scalar("loss", 2, 3);
  CHECK(bytes_of(killed) == before);
  CHECK(resumed.path().string() > killed);  // the order in which files are read
  const auto events = events_of(resumed.path());
  REQUIRE(events.size() == 3);
  CHECK(events[1].step() == 3);
}

TEST_CASE("events: a new file comes after those of a clock that was ahead") {
  const TemporaryFolder folder;
  std::ofstream(folder.path / "events.out.tfevents.4000000000.elsewhere.1");
  std::ofstream(folder.path / "events.out.tfevents.not-a-number");
  const EventWriter first(folder.path, 0), second(folder.path, 0);
  CHECK(first.path().filename().string().starts_with("events.out.tfevents.4000000001."));
  CHECK(second.path().filename().string().starts_with("events.out.tfevents.4000000002."));
}

TEST_CASE("events: a full disk is one line of the log, and costs no record but those it had no room for") {
  const TemporaryFolder folder;
  EventWriter writer(folder.path, 0);
  writer.scalar("loss", 1, 1);
  const auto bytes = fs::file_size(writer.path());
  const Errors errors;
  {
    const FullDisk disk(bytes + 20);  // half a record
    writer.scalar("loss", 2, 2);
    CHECK(fs::file_size(writer.path()) == bytes);
    writer.scalar("loss", 3, 3);
  }
  writer.scalar("loss", 4, 4);
  const auto events = events_of(writer.path());
  REQUIRE(events.size() == 4);
  CHECK(events[3].step() == 4);
  const std::string text = errors.text();
  CHECK(text.find(writer.path().string() + ": expected to write an event, got \"File too large\" at offset " +
                  std::to_string(bytes)) != std::string::npos);
  CHECK(text.find("expected", text.find("expected") + 1) == std::string::npos);
}

TEST_CASE("events: a file that had no room for its beginning gets it with the first record that fits") {
  const TemporaryFolder folder;
  std::optional<FullDisk> disk(10);
  EventWriter writer(folder.path, 0);
  writer.scalar("loss", 1, 1);
  CHECK(fs::file_size(writer.path()) == 0);
  disk.reset();
  writer.scalar("loss", 2, 2);
  const auto events = events_of(writer.path());
  REQUIRE(events.size() == 3);
  CHECK(events[0].file_version() == "brain.Event:2");
  CHECK(events[2].step() == 2);
}

TEST_CASE("events: a folder that cannot be is an error that names the file") {
  const TemporaryFolder folder;
  std::ofstream(folder.path / "file") << "x";
  const auto wrong = folder.path / "file" / "events";
  CHECK_THROWS_WITH_AS(EventWriter(wrong, 0), doctest::Contains(wrong.c_str()), Error);
  CHECK_THROWS_WITH_AS(EventWriter(wrong, 0), doctest::Contains("Not a directory"), Error);
}

// tests/python/event_files.py reads these with TensorBoard.
TEST_CASE("events: a run of random numbers, killed at step 12 and resumed after step 8") {
  const TemporaryFolder temporary;
  const char* wanted = std::getenv("BEIT_EVENTS");
  const fs::path folder = wanted != nullptr ? fs::path(wanted) : temporary.path;
  torch::manual_seed(5);
  const auto loss_S = torch::randn({2, 16}, torch::kFloat64), values_SN = torch::randn({2, 100}, torch::kFloat64);
  const auto pixels_SHWC = torch::randint(256, {2, 8, 12, 3}, torch::kUInt8);
  const auto write = [&](int64_t attempt, int64_t from, int64_t to) {
    EventWriter writer(folder / "events", from);
    for (int64_t step = from + 1; step <= to; ++step)
      writer.scalar("train/loss", loss_S[attempt][step - 1].item<double>(), step);
    writer.image("picture", pixels_SHWC[attempt], to);
    writer.histogram("values", values_SN[attempt], to);
    return writer.path();
  };
  const auto killed = write(0, 0, 12);
  fs::resize_file(killed, fs::file_size(killed) - 7);
  const auto resumed = write(1, 8, 16);
  write_safetensors(folder / "expected.safetensors",
                    {{"loss", torch::cat({loss_S[0].slice(0, 0, 8), loss_S[1].slice(0, 8)})},
                     {"pixels", pixels_SHWC[1].contiguous()},
                     {"values", values_SN[1].contiguous()}},
                    {});
  CHECK(events_of(resumed).size() == 2 + 8 + 2);
}

}  // namespace
}  // namespace beit
