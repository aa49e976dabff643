#include "train/distributed.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <deque>

#include "base/error.h"
#include "cli/runtime.h"
#include "tests/train/rank_processes.h"
#include "train/gradient_buckets.h"

namespace beit {
namespace {

using std::chrono::seconds;

constexpr const char* kPart = "distributed: one rank of a test";
constexpr seconds kTimeout{4};  // enough for all to start on a busy machine

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The ranks of one test, on this machine.
class Group {
 public:
  Group(std::string part, int ranks) : part_(std::move(part)), ranks_(ranks), port_(free_port()) {
    for (int rank = 0; rank < ranks; ++rank) start(rank);
  }
  /// Of which only these start.
  Group(std::string part, int ranks, const std::vector<int>& started)
      : part_(std::move(part)), ranks_(ranks), port_(free_port()) {
    for (const int rank : started) start(rank);
  }
  /// One in each of these networks.
  Group(std::string part, const std::vector<std::string>& networks, const std::string& host)
      : part_(std::move(part)), ranks_(static_cast<int>(networks.size())), port_(29533), host_(host) {
    for (int rank = 0; rank < ranks_; ++rank) {
      start(rank, {"ip", "netns", "exec", networks[static_cast<size_t>(rank)]});
    }
  }

  RankProcess& operator[](size_t rank) { return processes_[rank]; }
  int ranks() const { return ranks_; }

  /// Until all are in the loop of sums.
  void wait_for_loop() {
    REQUIRE(comes_true([&] {
      for (int rank = 0; rank < ranks_; ++rank) {
        if (!std::filesystem::exists(folder_.path / fmt::format("looping.{}", rank))) return false;
      }
      return true;
    }));
  }
  /// All end in order: each test case passed.
  void check_all_pass() {
    for (int rank = 0; rank < ranks_; ++rank) {
      auto& process = processes_[static_cast<size_t>(rank)];
      CHECK_MESSAGE(process.wait() == 0, "rank ", rank, ": ", process.output());
    }
  }
  /// The process (of those that were started) ends within the bound, with an error that says all of these.
  void check_error(size_t rank, seconds bound, const std::vector<std::string>& said) {
    auto& process = processes_[rank];
    process.wait(bound);
    const std::string output = process.output();
    CHECK_MESSAGE(process.ended(), "rank ", rank, " goes on: ", output);
    const size_t begin = output.find("error: ");
    REQUIRE_MESSAGE(begin != std::string::npos, "rank ", rank, ": ", output);
    const std::string line = output.substr(begin, output.find('\n', begin) - begin);
    for (const std::string& text : said) {
      CHECK_MESSAGE(line.find(text) != std::string::npos, "expected '", text, "' of rank ", rank, ", got: ", line);
    }
  }

 private:
  void start(int rank, const std::vector<std::string>& prefix = {}) {
    processes_.emplace_back(
        kPart,
        std::vector<std::string>{fmt::format("RANK={}", rank), fmt::format("WORLD_SIZE={}", ranks_),
                                 fmt::format("LOCAL_RANK={}", rank), fmt::format("LOCAL_WORLD_SIZE={}", ranks_),
                                 "MASTER_ADDR=" + host_, fmt::format("MASTER_PORT={}", port_),
                                 "BEIT_TEST_PART=" + part_, "BEIT_TEST_FOLDER=" + folder_.path.string()},
        folder_.path / fmt::format("output.{}", rank), prefix);
  }

  const TemporaryFolder folder_;
  const std::string part_;
  const int ranks_, port_;
  const std::string host_ = "127.0.0.1";
  std::deque<RankProcess> processes_;
};

// What a rank does, by part.

void check_collectives(Distributed& ranks) {
  const int64_t size = ranks.ranks(), all = size * (size + 1) / 2;
  for (const auto type : {torch::kFloat32, torch::kFloat64, torch::kInt64, torch::kInt32, torch::kBFloat16}) {
    auto values = torch::full({3, 5}, ranks.rank() + 1, torch::TensorOptions(type));
    ranks.sum(values);
    CHECK(torch::equal(values, torch::full({3, 5}, all, torch::TensorOptions(type))));
  }
  auto large = torch::arange(1'000'000, torch::kInt64) * (ranks.rank() + 1);
  ranks.sum(large);
  CHECK(torch::equal(large, torch::arange(1'000'000, torch::kInt64) * all));

  const auto whole = torch::zeros({4, 6});
  auto columns = whole.t();  // not contiguous
  columns.fill_(1);
  ranks.sum(columns);
  CHECK(torch::equal(whole, torch::full({4, 6}, static_cast<double>(size))));
  auto parameter = torch::ones({2}, torch::requires_grad());
  ranks.sum(parameter);
  CHECK(parameter.requires_grad());
  CHECK(parameter[0].item<double>() == static_cast<double>(size));
  auto none = torch::zeros({0});
  ranks.sum(none);

  for (int64_t from = 0; from < size; ++from) {
    auto value = torch::full({7}, static_cast<double>(ranks.rank()), torch::kFloat64);
    ranks.broadcast(value, from);
    CHECK(torch::equal(value, torch::full({7}, static_cast<double>(from), torch::kFloat64)));
  }
  const int64_t peer = size - 1 - ranks.rank();
  const auto given = torch::arange(6).view({2, 3}).t() + 10 * ranks.rank();  // not contiguous
  for (const auto type : {torch::kFloat32, torch::kFloat64, torch::kInt64}) {
    CHECK(torch::equal(ranks.exchange(given.to(type), peer), (given + 10 * (peer - ranks.rank())).to(type)));
  }
  const auto large_one = torch::full({3'000'000}, ranks.rank());
  CHECK(torch::equal(ranks.exchange(large_one, peer), torch::full({3'000'000}, peer)));
  CHECK(torch::equal(large_one, torch::full({3'000'000}, ranks.rank())));
  CHECK(ranks.exchange(torch::zeros({0}), peer).numel() == 0);

  const auto values = ranks.gather((int64_t{1} << 40) + ranks.rank());
  REQUIRE(values.size() == static_cast<size_t>(size));
  for (int64_t rank = 0; rank < size; ++rank) CHECK(values[static_cast<size_t>(rank)] == (int64_t{1} << 40) + rank);

  const Ranks of_quantizer = ranks.as_ranks();
  CHECK(of_quantizer.rank == ranks.rank());
  CHECK(of_quantizer.size == size);
  auto counts = torch::ones({4}, torch::kInt64);
  of_quantizer.sum(counts);
  CHECK(torch::equal(counts, torch::full({4}, size, torch::kInt64)));
}

/// Three layers, the middle one larger than the first bucket, in any type.
torch::nn::Sequential network(torch::ScalarType type) {
  torch::manual_seed(3);
  torch::nn::Sequential model(torch::nn::Linear(16, 600), torch::nn::GELU(), torch::nn::Linear(600, 600),
                              torch::nn::LayerNorm(torch::nn::LayerNormOptions({600})), torch::nn::Linear(600, 3));
  model->to(type);
  model[0]->as<torch::nn::Linear>()->bias.requires_grad_(false);
  return model;
}

/// Each step of two parts gives what backward() and a sum give, whatever the gradients were before.
void check_gradients(Distributed& ranks, torch::ScalarType type, double tolerance) {
  auto model = network(type), plain = network(type);
  GradientBuckets buckets(ranks, *model);
  const auto loss = [&](torch::nn::Sequential& of, int64_t step, int64_t part) {
    torch::manual_seed(static_cast<uint64_t>(100 * step + 10 * part + ranks.rank()));
    return of->forward(torch::randn({4, 16}, type)).square().mean();
  };
  for (int64_t step = 0; step < 3; ++step) {
    model->zero_grad(/*set_to_none=*/step != 1);
    plain->zero_grad();
    loss(model, step, 0).backward();
    buckets.backward(loss(model, step, 1));
    for (const int64_t part : {0, 1}) loss(plain, step, part).backward();
    const auto reduced = model->parameters(), expected = plain->parameters();
    for (size_t i = 0; i < reduced.size(); ++i) {
      if (!reduced[i].requires_grad()) {
        CHECK(!reduced[i].grad().defined());
        continue;
      }
      auto mean = expected[i].grad();
      ranks.sum(mean);
      mean = mean / ranks.ranks();
      CHECK((reduced[i].grad() - mean).abs().max().item<double>() <= tolerance);
      CHECK(mean.abs().max().item<double>() > 1e-6);
    }
  }
}

void loop(Distributed& ranks) {
  const std::filesystem::path folder = variable("BEIT_TEST_FOLDER");
  const std::string part = variable("BEIT_TEST_PART");
  auto model = torch::nn::Linear(8, 8);
  GradientBuckets buckets(ranks, *model);
  for (int64_t step = 0;; ++step) {
    auto values = torch::ones({100'000});
    ranks.sum(values);
    buckets.backward(model->forward(torch::ones({2, 8})).sum());
    if (step == 3) std::ofstream(folder / fmt::format("looping.{}", ranks.rank())) << "yes\n";
    if (ranks.rank() == 1 && step == 10 && part == "throws") fail("images: expected a picture, got a poem");
    if (ranks.rank() == 1 && step == 10 && part == "ends") return;
    if (ranks.rank() == 1 && step == 10 && part == "hangs") std::this_thread::sleep_for(seconds(120));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void unused(Distributed& ranks) {
  torch::nn::Sequential model(torch::nn::Linear(2, 2), torch::nn::Linear(2, 2));
  GradientBuckets buckets(ranks, *model);
  buckets.backward(model[0]->as<torch::nn::Linear>()->forward(torch::ones({2})).sum());
}

TEST_CASE("distributed: one rank of a test" * doctest::skip()) {
  const std::string part = variable("BEIT_TEST_PART");
  const auto place = rank_place();
  REQUIRE(place.has_value());
  const auto device = apply({.device = "cpu", .threads = 1, .quiet = true}, *place);
  try {
    Distributed ranks(*place, device, kTimeout);
    try {
      if (part == "collectives") {
        check_collectives(ranks);
      } else if (part == "gradients") {
        check_gradients(ranks, torch::kFloat64, 1e-12);
        check_gradients(ranks, torch::kFloat32, 1e-6);
      } else if (part == "unused") {
        unused(ranks);
      } else if (part == "exchanges") {
        if (ranks.rank() == 1) std::this_thread::sleep_for(seconds(120));
        ranks.exchange(torch::ones({100}), 1 - ranks.rank());
      } else {
        loop(ranks);
      }
    } catch (const std::exception& error) {
      ranks.tell_failure(error.what());
      throw;
    }
  } catch (const std::exception& error) {
    fmt::print("error: {}\n", error.what());
    std::fflush(stdout);
  }
}

// The tests.

constexpr seconds kAtOnce{12};  // for what closes its connections
constexpr seconds kBound = kTimeout + Distributed::kLongestSearch + Distributed::kLongestEnd;

TEST_CASE("distributed: alone, every collective is the identity") {
  Distributed alone;
  CHECK(alone.leads());
  auto values = torch::arange(5);
  alone.sum(values);
  alone.broadcast(values, 0);
  CHECK(torch::equal(values, torch::arange(5)));
  CHECK(alone.gather(7) == std::vector<int64_t>{7});
  CHECK_THROWS_AS(alone.broadcast(values, 1), Error);
  CHECK(torch::equal(alone.exchange(values, 0), values));
  CHECK_THROWS_AS(alone.exchange(values, 1), Error);
  CHECK_THROWS_AS(alone.group(), Error);
  torch::nn::Linear model(2, 2);
  GradientBuckets buckets(alone, *model);
  buckets.backward(model->forward(torch::ones({2})).sum());
  CHECK(torch::equal(model->bias.grad(), torch::ones({2})));
}

TEST_CASE("distributed: sums, broadcasts, exchanges and gathers over one to four processes") {
  for (const int ranks : {1, 2, 3, 4}) {
    CAPTURE(ranks);
    if (ranks == 1) {
      Distributed alone;
      check_collectives(alone);
    } else {
      Group("collectives", ranks).check_all_pass();
    }
  }
}

TEST_CASE("distributed: ranks that torchrun starts join by the store that it serves") {
  const auto python = fetched_file("python/bin/python");
  if (!python) return;
  const TemporaryFolder folder;
  const std::string line = fmt::format(
      "BEIT_TEST_PART=collectives '{}' -m torch.distributed.run --no-python --standalone --nproc-per-node 2 '{}' "
      "--test-case='{}' --no-skip > '{}' 2>&1",
      python->string(), std::filesystem::read_symlink("/proc/self/exe").string(), kPart,
      (folder.path / "output").string());
  const int status = std::system(line.c_str());
  std::ostringstream output;
  output << std::ifstream(folder.path / "output").rdbuf();
  CHECK_MESSAGE(status == 0, output.str());
}

TEST_CASE("distributed: gradients reduced in buckets are the mean of backward()'s, earlier parts included") {
  for (const int ranks : {2, 3}) {
    CAPTURE(ranks);
    Group("gradients", ranks).check_all_pass();
  }
}

TEST_CASE("distributed: a parameter that takes no part in the loss is an error that names it") {
  Group group("unused", 2);
  for (const size_t rank : {0, 1}) group.check_error(rank, kBound, {"take part in the loss", "1.weight, 1.bias"});
}

TEST_CASE("distributed: where a rank is killed the others end at once and name it") {
  Group group("loop", 3);
  group.wait_for_loop();
  group[2].send(SIGKILL);
  for (const size_t rank : {0, 1}) group.check_error(rank, kAtOnce, {"rank 2 (host ", "no sign of life"});
}

TEST_CASE("distributed: where a rank is stopped the others end after the timeout and name it") {
  Group group("loop", 3);
  group.wait_for_loop();
  group[1].send(SIGSTOP);
  for (const size_t rank : {0, 2}) group.check_error(rank, kBound, {"rank 1 (host ", "no sign of life"});
}

TEST_CASE("distributed: where a rank hangs the others end after the timeout and name it") {
  Group group("hangs", 3);
  group.wait_for_loop();
  for (const size_t rank : {0, 2})
    group.check_error(rank, kBound, {"rank 1 (host ", "at operation ", "hangs or is slow"});
}

TEST_CASE("distributed: where a rank that another exchanges with hangs, that one ends after the timeout and names it") {
  Group group("exchanges", 2);
  group.check_error(0, kBound, {"rank 1 (host ", "at operation ", "hangs or is slow"});
}

TEST_CASE("distributed: the message of a rank that fails is in the others'") {
  Group group("throws", 3);
  group.check_error(1, kAtOnce, {"error: images: expected a picture, got a poem"});
  for (const size_t rank : {0, 2})
    group.check_error(rank, kAtOnce, {"rank 1 (host ", "failed: images: expected a picture"});
}

TEST_CASE("distributed: a rank that ends before the others is named") {
  Group group("ends", 3);
  CHECK(group[1].wait() == 0);
  CHECK(group[1].output().find("error: ") == std::string::npos);
  for (const size_t rank : {0, 2}) group.check_error(rank, kAtOnce, {"rank 1 (host ", "had ended before"});
}

TEST_CASE("distributed: the rank that serves the store is named where it is killed or stopped") {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    CAPTURE(signal);
    Group group("loop", 3);
    group.wait_for_loop();
    group[0].send(signal);
    for (const size_t rank : {1, 2}) group.check_error(rank, kBound, {"rank 0", "ended or cannot be reached"});
  }
}

TEST_CASE("distributed: ranks that never come are named after the timeout") {
  Group without_last("loop", 4, std::vector<int>{0, 1});
  for (const size_t rank : {0, 1})
    without_last.check_error(rank, kBound, {"expected 4 ranks", "got 2; missing: rank 2, 3;"});
}

TEST_CASE("distributed: where rank 0 never comes the others say so after the timeout") {
  Group without_first("loop", 2, std::vector<int>{1});
  without_first.check_error(0, kTimeout + seconds(5), {"expected rank 0 to serve a store at 127.0.0.1", "within 4 s"});
}

/// Two networks joined by a cable, until the end.
class TwoNetworks {
 public:
  TwoNetworks() {
    good = run("netns add " + a) && run("netns add " + b) &&
           run(fmt::format("-n {} link add cable type veth peer name cable netns {}", a, b));
    const std::string addresses[] = {"10.77.0.1", "10.77.0.2"};
    for (const auto& [name, address] : {std::pair(a, addresses[0]), std::pair(b, addresses[1])}) {
      good = good && run(fmt::format("-n {} addr add {}/24 dev cable", name, address)) &&
             run(fmt::format("-n {} link set cable up", name)) && run(fmt::format("-n {} link set lo up", name));
    }
  }
  ~TwoNetworks() {
    run("netns del " + a);
    run("netns del " + b);
  }
  TwoNetworks(const TwoNetworks&) = delete;
  TwoNetworks& operator=(const TwoNetworks&) = delete;

  static bool run(const std::string& words) { return std::system(("ip " + words + " 2>/dev/null").c_str()) == 0; }

  const std::string a = fmt::format("beit-a-{}", getpid()), b = fmt::format("beit-b-{}", getpid());
  bool good = false;
};

TEST_CASE("distributed: two machines join, and where the network between them is cut each names the other") {
  const TwoNetworks networks;
  if (!networks.good) {
    fmt::print("skipped: networks of a test's own need the rights of root and `ip netns`\n");
    return;
  }
  Group group("loop", {networks.a, networks.b}, "10.77.0.1");
  group.wait_for_loop();
  REQUIRE(TwoNetworks::run("-n " + networks.a + " link set cable down"));
  group.check_error(0, kBound, {"rank 1 (host ", "no sign of life"});
  group.check_error(1, kBound, {"rank 0", "cannot be reached"});
}

}  // namespace
}  // namespace beit
