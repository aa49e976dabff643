// Training on several ranks, as processes: the same batch gives the same steps however many share it.
#include <deque>
#include <map>

#include "io/safetensors.h"
#include "tests/core/golden.h"
#include "tests/support.h"
#include "tests/train/rank_processes.h"
#include "tests/train/small_segment.h"
#include "tests/train/small_tasks.h"
#include "train/rank_place.h"

namespace beit {
namespace {

constexpr const char* kPart = "ranks: the work of one rank";

TrainOptions options_of(int64_t ranks) {
  // Two ranks cut their part of the batch once more.
  return {.seed = 5, .batch_size = kStepImages, .clip_grad = 1.0, .accumulate = ranks == 2 ? 3 : 1};
}

TEST_CASE("ranks: the work of one rank" * doctest::skip()) {
  const auto place = rank_place();
  REQUIRE(place);
  torch::set_num_threads(1);
  Distributed distributed(*place, torch::kCPU, std::chrono::seconds(60));
  const std::filesystem::path folder = std::getenv("BEIT_TEST_FOLDER");
  const auto keep = [&](const std::string& name, const TensorMap& found) {
    if (distributed.leads()) write_safetensors(folder / (name + ".safetensors"), found, {});
  };
  for (const auto type : {torch::kFloat64, torch::kFloat32}) {
    const std::string bits = type == torch::kFloat64 ? "64" : "32";
    SmallMim mim(type), sharded(type);
    SmallVqkd vqkd(type, distributed.as_ranks());
    SmallFinetune finetune(type, distributed);
    keep("finetune" + bits, twenty_steps(finetune, options_of(place->ranks), distributed));
    keep("mim" + bits, twenty_steps(mim, options_of(place->ranks), distributed));
    keep("vqkd" + bits, twenty_steps(vqkd, options_of(place->ranks), distributed));
    keep("sharded" + bits, twenty_steps(sharded, options_of(place->ranks), distributed, /*shard=*/true));
    SmallSegment segment(type, distributed.as_ranks());
    keep("segment" + bits, twenty_steps(segment, options_of(1), distributed));  // batch norm sees the step as a whole
  }
}

/// What the first of `ranks` processes found, by training.
std::map<std::string, TensorMap> found_by(int ranks) {
  const TemporaryFolder folder;
  const std::string port = std::to_string(free_port());
  std::deque<RankProcess> processes;
  for (int rank = 0; rank < ranks; ++rank) {
    processes.emplace_back(kPart,
                           std::vector<std::string>{"RANK=" + std::to_string(rank),
                                                    "WORLD_SIZE=" + std::to_string(ranks), "MASTER_ADDR=127.0.0.1",
                                                    "MASTER_PORT=" + port, "BEIT_TEST_FOLDER=" + folder.path.string()},
                           folder.path / ("output." + std::to_string(rank)));
  }
  for (auto& process : processes) CHECK_MESSAGE(process.wait() == 0, process.output());
  std::map<std::string, TensorMap> found;
  for (const std::string name : {"mim64", "mim32", "vqkd64", "vqkd32", "finetune64", "finetune32", "segment64",
                                 "segment32", "sharded64", "sharded32"}) {
    auto tensors = read_safetensors(folder.path / (name + ".safetensors")).tensors;
    for (auto& [key, value] : tensors) value = value.clone();
    found.emplace(name, std::move(tensors));
  }
  return found;
}

TEST_CASE("ranks: one to four ranks with the same batch take the same steps") {
  std::map<std::string, TensorMap> alone;
  {
    Distributed distributed;
    torch::set_num_threads(1);
    for (const auto type : {torch::kFloat64, torch::kFloat32}) {
      const std::string bits = type == torch::kFloat64 ? "64" : "32";
      SmallMim mim(type);
      SmallVqkd vqkd(type, {});
      SmallFinetune finetune(type, distributed);
      alone.emplace("finetune" + bits, twenty_steps(finetune, options_of(1), distributed));
      alone.emplace("mim" + bits, twenty_steps(mim, options_of(1), distributed));
      alone.emplace("vqkd" + bits, twenty_steps(vqkd, options_of(1), distributed));
      SmallSegment segment(type, {});
      alone.emplace("segment" + bits, twenty_steps(segment, options_of(1), distributed));
    }
  }
  for (const int ranks : {2, 3, 4}) {
    CAPTURE(ranks);
    const auto found = found_by(ranks);
    for (const auto& [name, expected] : alone) {
      CAPTURE(name);
      const TensorMap& got = found.at(name);
      const bool doubles = name.ends_with("64");
      const auto difference = (got.at("losses") - expected.at("losses")).abs();
      CHECK(difference[0].item<double>() < (doubles ? 1e-12 : 1e-6));
      CHECK(difference.max().item<double>() < (doubles ? 1e-9 : 1e-4));
      // A bias before batch norm changes nothing: its gradient is what rounding leaves, and has no share to compare.
      double largest = 0;
      for (const auto& [key, value] : expected) {
        if (key.starts_with("gradient.")) largest = std::max(largest, value.abs().max().item<double>());
      }
      const double single = name.starts_with("segment") ? 1e-4 : 1e-5;  // batch norm alone takes another formula
      for (const auto& [key, value] : expected) {
        if (!key.starts_with("gradient.")) continue;
        CAPTURE(key);
        if (value.abs().max().item<double>() < 1e-6 * largest) {
          CHECK(got.at(key).abs().max().item<double>() < 1e-6 * largest);
        } else {
          CHECK(apart(got.at(key), value) < (doubles ? 1e-9 : single));
        }
      }
      if (expected.contains("codes")) {
        const double equal = got.at("codes").eq(expected.at("codes")).to(torch::kFloat64).mean().item<double>();
        CHECK(equal >= 0.999);
      }
    }
    for (const std::string bits : {"64", "32"}) {  // the optimizer in shards: not a bit differs
      const TensorMap &sharded = found.at("sharded" + bits), &whole = found.at("mim" + bits);
      for (const auto& [key, value] : whole) {
        CAPTURE(key);
        CHECK(torch::equal(sharded.at(key), value));
      }
    }
  }
}

}  // namespace
}  // namespace beit
