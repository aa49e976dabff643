// `beit bench`: seconds and memory of a step, as one line of JSON; bench/compare.py sets them beside PyTorch's, on a
// GPU bench/gpu.py.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/bench_cases.h"
#include "cli/command.h"
#include "cli/runtime.h"
#include "train/memory.h"

namespace beit {
namespace {

using Names = std::vector<std::string>;

constexpr int64_t kWarmUp = 2;  // steps that are not counted

bool contains(const Names& names, const std::string& name) { return std::ranges::find(names, name) != names.end(); }

Names case_names() {
  Names names;
  for (const BenchCase& one : bench_cases()) names.push_back(one.name);
  return names;
}

int64_t peak_mib(const torch::Device& device) { return peak_memory(device) >> 20; }

/// Of the steps that count, each to its end on the device, rising.
std::vector<double> seconds_of(const Step& step, int64_t steps, const torch::Device& device) {
  std::vector<double> seconds;
  for (int64_t i = 0; i < kWarmUp + steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    step();
    if (device.is_cuda()) torch::cuda::synchronize();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i >= kWarmUp) seconds.push_back(taken.count());
  }
  std::ranges::sort(seconds);
  return seconds;
}

/// Of rising values; of two in the middle the mean.
double median(const std::vector<double>& values) {
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

struct Bench {
  std::string name;
  CaseOptions chosen;
  int64_t steps = 5;
  RuntimeOptions runtime{.device = "cpu", .quiet = true};
  Names given;

  OptionList options() {
    return join(
        {{{.name = "CASE",
           .value = &name,
           .help = fmt::format("what to time, on random images: {}", fmt::join(case_names(), ", ")),
           .value_name = "CASE",
           .positional = true},
          {.name = "batch", .value = &chosen.batch, .help = "images a step", .range = {.least = 1, .most = 1e6}},
          {.name = "steps",
           .value = &steps,
           .help = "to time, after two that are not counted",
           .range = {.least = 1, .most = 1e6}},
          {.name = "weights",
           .value = &chosen.weights,
           .help = "of a pre-training model of base size, for the case open",
           .value_name = "FILE"}},
         pick(describe(chosen.model), {"image-size", "drop-path"}),
         pick(describe(chosen.codebook), {"codes"}),
         pick(describe(chosen.train), {"precision"}),
         pick(describe(runtime), {"device", "threads"})});
  }

  void run() {
    require(!name.empty(), "bench: expected a case, got none; they are {}", fmt::join(case_names(), ", "));
    const auto found = std::ranges::find(bench_cases(), name, &BenchCase::name);
    require(found != bench_cases().end(), "bench: expected a case, got '{}'; they are {}", name,
            fmt::join(case_names(), ", "));
    for (const std::string& option : given) {
      require(option == "CASE" || option == "steps" || option == "device" || option == "threads" ||
                  contains(found->takes, option),
              "bench: expected options of {} ({}, steps, device, threads), got --{}", name,
              fmt::join(found->takes, ", "), option);
    }
    resolve(chosen.model);
    chosen.device = apply(runtime);
    torch::manual_seed(0);

    const Step step = found->make(chosen);
    const int64_t start_mib = peak_mib(chosen.device);
    const std::vector<double> seconds = seconds_of(step, steps, chosen.device);
    fmt::print("{}\n", line(*found, median(seconds), seconds.front(), start_mib).dump());
  }

  nlohmann::ordered_json line(const BenchCase& timed, double median_s, double min_s, int64_t start_mib) const {
    nlohmann::ordered_json line{{"case", name},
                                {"attention", "fused"},
                                {"compile", false},
                                {"bf16", chosen.train.precision == "bf16"},
                                {"device", chosen.device.str()},
                                {"threads", at::get_num_threads()}};
    if (contains(timed.takes, "batch")) {
      line["batch"] = chosen.batch;
      line["images_per_s"] = static_cast<double>(chosen.batch) / median_s;
    }
    if (contains(timed.takes, "image-size")) line["image_size"] = chosen.model.image_size;
    if (contains(timed.takes, "codes")) line["codes"] = chosen.codebook.codes;
    if (contains(timed.takes, "drop-path")) line["drop_path"] = chosen.model.drop_path;
    line["median_s"] = median_s;
    line["min_s"] = min_s;
    line["start_mib"] = start_mib;
    line["peak_mib"] = peak_mib(chosen.device);
    return line;
  }
};

}  // namespace

Command bench_command() {
  return make_command<Bench>("bench", "Time a step of training or tokenizing on random images");
}

}  // namespace beit
