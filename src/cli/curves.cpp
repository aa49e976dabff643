// `beit curves`: what runs logged, as a picture and as data.
#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/curve_plot.h"
#include "io/atomic_file.h"

namespace beit {
namespace {

using Names = std::vector<std::string>;

bool contains(const Names& names, const std::string& name) { return std::ranges::find(names, name) != names.end(); }

struct CurvesCommand {
  Names sources, figures, log_scale;
  std::string output, csv, expected, over = "steps";
  int64_t points = 500, columns = 2;

  OptionList options() {
    return {{.name = "RUN",
             .value = &sources,
             .help = "run folder, going or ended, a folder with runs in or below it, or a CSV file of --csv",
             .value_name = "RUN|FILE.csv",
             .positional = true},
            {.name = "output", .value = &output, .help = "picture to write", .value_name = "FILE.svg"},
            {.name = "csv", .value = &csv, .help = "the same as data", .value_name = "FILE.csv"},
            {.name = "expected",
             .value = &expected,
             .help = "curves to show behind, pale, of the same commands: those shipped with a recipe, or of a file",
             .value_name = "RECIPE|FILE.csv"},
            {.name = "figure",
             .value = &figures,
             .help = "key of log.jsonl; again for several. None: all but speed, waiting, memory and time left",
             .value_name = "KEY"},
            {.name = "log-scale",
             .value = &log_scale,
             .help = "figure whose axis is logarithmic; again for several",
             .value_name = "KEY"},
            {.name = "over", .value = &over, .help = "what goes to the right", .choices = {"steps", "epochs"}},
            {.name = "points",
             .value = &points,
             .help = "most of a curve; longer ones are thinned evenly",
             .range = {.least = 2, .most = 1e6}},
            {.name = "columns", .value = &columns, .help = "figures side by side", .range = {.least = 1, .most = 12}}};
  }

  void run() {
    require(!sources.empty(), "curves: expected a run, got none; say `beit curves RUN --output FILE.svg`");
    require(!output.empty() || !csv.empty(), "curves: expected a file to write, got none; set --output or --csv");
    require(expected.empty() || !output.empty(), "curves: expected --output with --expected, which is drawn, got none");
    for (const auto& [path, flag, ending] : {std::tuple(output, "output", ".svg"), std::tuple(csv, "csv", ".csv")}) {
      require(path.empty() || path.ends_with(ending), "curves: expected a file that ends with {} for --{}, got {}",
              ending, flag, path);
    }
    for (const std::string& path : {output, csv}) {
      if (!path.empty()) require_writable(path);
    }
    std::vector<RunCurves> runs = read_runs(sources, "curves");
    choose_figures(figures_of(runs));
    int64_t count = 0;
    for (RunCurves& run : runs) {
      std::erase_if(run.curves, [&](const Curve& curve) { return !contains(figures, curve.figure); });
      for (Curve& curve : run.curves) thin(curve, points);
      count += std::ssize(run.curves);
    }
    if (!csv.empty()) write_file_atomically(csv, to_csv(runs));
    if (!output.empty()) {
      const auto wanted = expected.empty() ? std::vector<RunCurves>() : read_expected(expected);
      write_file_atomically(output, svg(curve_plot(runs, wanted, expected, {figures, log_scale, over, columns})));
    }
    const bool both = !csv.empty() && !output.empty();
    log().info("{}{}{}: {} curves of {} run{}", output, both ? ", " : "", csv, count, runs.size(),
               runs.size() == 1 ? "" : "s");
  }

 private:
  /// Those asked for, which must be there; of all, those of the training.
  void choose_figures(const Names& there) {
    for (const Names* names : {&figures, &log_scale}) {
      for (const std::string& name : *names)
        require(contains(there, name), "curves: expected a figure that a run logged, got '{}'; the nearest is '{}'",
                name, nearest(name, there));
    }
    if (!figures.empty()) return;
    figures = training_figures(there);
    require(!figures.empty(),
            "curves: expected a figure of training, got those of the machine alone; name them by --figure");
  }
};

}  // namespace

Command curves_command() {
  return make_command<CurvesCommand>("curves",
                                     "Draw what runs logged: loss, accuracy, learning rate ... as SVG or CSV");
}

}  // namespace beit
