// `beit curves`: what runs logged, as a picture and as data.
#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/recipes.h"
#include "cli/run_curves.h"
#include "cli/run_state.h"
#include "io/atomic_file.h"
#include "viz/plot.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

using Names = std::vector<std::string>;

/// What tells of the machine, not of the training.
constexpr std::array<std::string_view, 4> kOfMachine{"images_per_s", "data_wait", "memory_bytes", "seconds_left"};

bool contains(const Names& names, const std::string& name) { return std::ranges::find(names, name) != names.end(); }

/// The folder as a user would name it again.
fs::path plain(const fs::path& path) {
  const fs::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

/// Unless it has nothing to show, or is among them: the same folder in two ways.
void add(RunCurves run, std::vector<RunCurves>& runs) {
  if (run.curves.empty()) {
    log().warn("{}: left out, its log has no figures yet; the first ones come after the first step", run.run);
    return;
  }
  const auto is_there = [&](const std::string& name) {
    return std::ranges::any_of(runs,
                               [&](const RunCurves& one) { return one.run == name && one.command == run.command; });
  };
  const std::string name = run.run;
  for (int64_t number = 2; is_there(run.run); ++number) run.run = fmt::format("{} ({})", name, number);
  runs.push_back(std::move(run));
}

std::vector<RunCurves> read_runs(const Names& sources) {
  std::vector<RunCurves> runs;
  std::set<fs::path> folders;
  for (const std::string& source : sources) {
    const fs::path path = plain(source);
    std::error_code ignored;
    if (!fs::is_directory(path, ignored)) {
      for (RunCurves& run : curves_of_csv_file(path)) add(std::move(run), runs);
      continue;
    }
    const auto found = fs::exists(path / "log.jsonl", ignored) ? std::vector{path} : find_runs(path);
    require(!found.empty(), "{}: expected a run folder, or one with runs in or below it, got none with log.jsonl",
            path.string());
    for (const fs::path& folder : found) {
      if (folders.insert(fs::weakly_canonical(folder)).second) add(curves_of_run(folder), runs);
    }
  }
  require(!runs.empty(), "curves: expected a run with figures, got none");
  return runs;
}

/// Of a file, or shipped with the recipe of that name.
std::vector<RunCurves> read_expected(const std::string& name) {
  std::error_code ignored;
  const ShippedFile* shipped = find_shipped(shipped_curves(), name);
  if (shipped != nullptr && !fs::is_regular_file(name, ignored)) return curves_of_csv(shipped->text, name);
  if (!fs::exists(name, ignored) && name.find('/') == std::string::npos && !name.ends_with(".csv")) {
    Names names;
    for (const ShippedFile& file : shipped_curves()) names.push_back(file.name);
    require(!names.empty(), "--expected: expected a CSV file, got '{}'", name);
    fail("--expected: expected a CSV file or a recipe with curves, got '{}'; the nearest is '{}'", name,
         nearest(name, names));
  }
  return curves_of_csv_file(name);
}

Names figures_of(const std::vector<RunCurves>& runs) {
  Names figures;
  for (const RunCurves& run : runs) {
    for (const Curve& curve : run.curves) {
      if (!contains(figures, curve.figure)) figures.push_back(curve.figure);
    }
  }
  return figures;
}

const Curve* find_curve(const RunCurves& run, const std::string& figure) {
  const auto found = std::ranges::find(run.curves, figure, &Curve::figure);
  return found == run.curves.end() ? nullptr : &*found;
}

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
    std::vector<RunCurves> runs = read_runs(sources);
    choose_figures(figures_of(runs));
    int64_t count = 0;
    for (RunCurves& run : runs) {
      std::erase_if(run.curves, [&](const Curve& curve) { return !contains(figures, curve.figure); });
      for (Curve& curve : run.curves) thin(curve, points);
      count += std::ssize(run.curves);
    }
    if (!csv.empty()) write_file_atomically(csv, to_csv(runs));
    if (!output.empty()) write_file_atomically(output, svg(plot_of(runs)));
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
    std::ranges::copy_if(there, std::back_inserter(figures), [](const std::string& name) {
      return std::ranges::find(kOfMachine, name) == kOfMachine.end();
    });
    require(!figures.empty(),
            "curves: expected a figure of training, got those of the machine alone; name them by --figure");
  }

  Series series_of(const Curve& curve, std::string name, bool pale) const {
    Series series{.name = std::move(name), .x = {}, .y = {}, .pale = pale};
    for (const CurvePoint& point : curve.points) {
      series.x.push_back(over == "epochs" ? point.epoch : static_cast<double>(point.step));
      series.y.push_back(point.value);
    }
    return series;
  }

  /// A panel for each figure of each command: the loss of one is not that of another.
  Plot plot_of(const std::vector<RunCurves>& runs) const {
    Names commands;
    for (const RunCurves& run : runs) {
      if (!contains(commands, run.command)) commands.push_back(run.command);
    }
    const auto wanted = expected.empty() ? std::vector<RunCurves>() : read_expected(expected);
    Plot plot{.title = runs.size() == 1 ? runs.front().run : fmt::format("{} runs", runs.size()),
              .panels = {},
              .columns = columns};
    bool matched = wanted.empty();
    for (const std::string& command : commands) {
      for (const std::string& figure : figures) {
        Panel panel{.title = commands.size() == 1 || command.empty() ? figure : command + ": " + figure,
                    .x_label = over == "epochs" ? "epoch" : "step",
                    .scale = contains(log_scale, figure) ? Scale::kLog : Scale::kLinear,
                    .series = {}};
        for (const RunCurves& run : runs) {
          const Curve* curve = run.command == command ? find_curve(run, figure) : nullptr;
          if (curve != nullptr) panel.series.push_back(series_of(*curve, run.run, /*pale=*/false));
        }
        if (panel.series.empty()) continue;
        for (const RunCurves& run : wanted) {
          const bool fits = run.command == command || run.command.empty() || command.empty();
          const Curve* curve = fits ? find_curve(run, figure) : nullptr;
          if (curve == nullptr) continue;
          panel.series.push_back(series_of(*curve, "expected", /*pale=*/true));
          matched = true;
        }
        plot.panels.push_back(std::move(panel));
      }
    }
    if (!matched) log().warn("{}: shown without, it has no figure of these runs' commands", expected);
    return plot;
  }
};

}  // namespace

Command curves_command() {
  return make_command<CurvesCommand>("curves",
                                     "Draw what runs logged: loss, accuracy, learning rate ... as SVG or CSV");
}

}  // namespace beit
