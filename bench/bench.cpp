// `beit_bench`: seconds a step of each case, by Google Benchmark; bench/compare.py sets them beside PyTorch's.
#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <thread>

#include "base/error.h"
#include "bench/cases.h"

namespace beit {
namespace {

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// A repetition is one step. The case is built, and warmed up by two steps, before the first; one case lives at a time.
void add(const Case& entry, const CaseOptions& options) {
  static std::string built;
  static Step step;
  benchmark::RegisterBenchmark(entry.name.c_str(),
                               [=](benchmark::State& state) {
                                 if (built != entry.name) {
                                   step = {};
                                   options.counters->clear();
                                   step = entry.make(options);
                                   built = entry.name;
                                   step();
                                   step();
                                 }
                                 for (auto _ : state) step();
                                 state.SetItemsProcessed(state.iterations() * options.batch_size);
                                 state.counters["peak_mib"] = peak_mib();
                                 for (const auto& [name, value] : *options.counters) state.counters[name] = value;
                               })
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

int run(int argc, char** argv) {
  // What stands before the user's own flags yields to them.
  std::vector<char*> words{argv[0]};
  std::string repetitions = "--benchmark_repetitions=5", aggregates = "--benchmark_report_aggregates_only=true";
  words.insert(words.end(), {repetitions.data(), aggregates.data()});
  words.insert(words.end(), argv + 1, argv + argc);
  int count = static_cast<int>(words.size());
  benchmark::Initialize(&count, words.data());

  CaseOptions options;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  CLI::App app("Times the work of each command; flags of Google Benchmark (--benchmark_filter=REGEX, ...) serve too");
  app.add_option("--batch-size", options.batch_size, "images a step")->capture_default_str();
  app.add_option("--images", options.images, "folder or tar file of the cases `load` and `load_exact`");
  app.add_option("--image-size", options.image_size, "pixels of a side of their views")->capture_default_str();
  app.add_option("--workers", options.workers, "their threads")->capture_default_str();
  app.add_option("--weights", options.weights, "file of the case `open`, a pre-training model of base size");
  app.add_option("--threads", threads, "threads that compute")->capture_default_str();
  CLI11_PARSE(app, count, words.data());
  at::set_num_threads(threads);
  torch::manual_seed(0);

  for (const Case& entry : all_cases()) {
    const bool lacks_input =
        (entry.name.starts_with("load") && options.images.empty()) || (entry.name == "open" && options.weights.empty());
    if (!lacks_input) add(entry, options);
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace beit

int main(int argc, char** argv) {
  try {
    return beit::run(argc, argv);
  } catch (const beit::Error& error) {
    fmt::print(stderr, "beit_bench: error: {}\n", error.what());
    return 1;
  }
}
