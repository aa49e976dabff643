// `beit classify`: the most likely classes of images.
// Shape letters: B images of a batch, K most likely classes.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "cli/classification.h"
#include "cli/command.h"
#include "cli/csv.h"
#include "io/atomic_file.h"
#include "train/progress.h"

namespace beit {
namespace {

struct Guess {
  int64_t output = 0;
  std::string name;  ///< the output's number where it has none
  float probability = 0;
};

/// One image after another in one of the three forms.
class Report {
 public:
  Report(const std::string& format, const Sink& sink) : format_(format), sink_(sink) {
    if (format_ == "csv") sink_("path,rank,output,class,probability\n");
    if (format_ == "json") sink_("[");
  }

  void add(const std::string& path, const std::vector<Guess>& guesses) {
    std::string text;
    if (format_ == "json") {
      using Json = nlohmann::ordered_json;
      Json image{{"path", path}, {"classes", Json::array()}};
      for (const auto& [output, name, probability] : guesses)
        image["classes"].push_back({{"output", output}, {"class", name}, {"probability", probability}});
      text = (first_ ? "\n" : ",\n") + image.dump(-1, ' ', false, Json::error_handler_t::replace);
    } else if (format_ == "csv") {
      int64_t rank = 0;
      for (const auto& [output, name, probability] : guesses)
        text += fmt::format("{},{},{},{},{}\n", csv_field(path), ++rank, output, csv_field(name), probability);
    } else {
      text = on_one_line(path) + "\n";
      for (const auto& [output, name, probability] : guesses)
        text += fmt::format("  {:6.2f}%  {}\n", 100 * probability, on_one_line(name));
    }
    first_ = false;
    sink_(text);
  }

  void end() {
    if (format_ == "json") sink_("\n]\n");
  }

 private:
  const std::string& format_;
  const Sink& sink_;
  bool first_ = true;
};

struct Classify {
  ClassificationOptions of;
  int64_t top = 5;
  std::string format = "table", output;

  OptionList options() {
    return join({{{.name = "top",
                   .value = &top,
                   .help = "most likely classes to tell, at most",
                   .range = {.least = 1, .most = 1e6}},
                  {.name = "format",
                   .value = &format,
                   .help = "for people, or for programs",
                   .choices = {"table", "csv", "json"}},
                  {.name = "output",
                   .value = &output,
                   .help = "file for the result, in place of standard output",
                   .value_name = "FILE"}},
                 of.options()});
  }

  void run() {
    const torch::NoGradGuard no_grad;
    if (output.empty()) of.runtime.quiet = true;  // standard output holds the result and nothing else
    Classification classifier("classify", of, {output});
    if (output.empty()) {
      write(classifier, [](std::string_view text) {
        const bool whole = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
        require(whole, "standard output: expected to write, got an error; is the disk full?");
      });
      return;
    }
    Passed passed;
    write_file_atomically(output, [&](const Sink& sink) { passed = write(classifier, sink); });
    log().info("{} images in {}, {:.1f} images/s; written to {}", passed.images,
               readable_seconds(static_cast<double>(passed.images) / passed.images_per_s), passed.images_per_s, output);
  }

  Passed write(Classification& classifier, const Sink& sink) const {
    const int64_t count = std::min(top, classifier.classes());
    const auto& names = classifier.class_names();
    Report report(format, sink);
    const auto passed = classifier.each_batch([&](const Batch& batch) {
      const auto [values_BK, outputs_BK] = classifier.log_probabilities(batch.views[0]).topk(count, 1);
      const auto probabilities_BK = values_BK.exp().to(torch::kCPU), on_cpu_BK = outputs_BK.to(torch::kCPU);
      const auto probabilities = probabilities_BK.accessor<float, 2>();
      const auto outputs = on_cpu_BK.accessor<int64_t, 2>();
      for (int64_t row = 0; row < probabilities.size(0); ++row) {
        std::vector<Guess> guesses;
        for (int64_t k = 0; k < count; ++k) {
          const int64_t number = outputs[row][k];
          guesses.push_back({number, names.empty() ? std::to_string(number) : names[static_cast<size_t>(number)],
                             probabilities[row][k]});
        }
        report.add(classifier.images().path(batch.indices_B[row].item<int64_t>()), guesses);
      }
    });
    report.end();
    return passed;
  }
};

}  // namespace

Command classify_command() { return make_command<Classify>("classify", "Name the most likely classes of images"); }

}  // namespace beit
