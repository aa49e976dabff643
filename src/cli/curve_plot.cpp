#include "cli/curve_plot.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/recipes.h"
#include "cli/run_state.h"

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

const Curve* find_curve(const RunCurves& run, const std::string& figure) {
  const auto found = std::ranges::find(run.curves, figure, &Curve::figure);
  return found == run.curves.end() ? nullptr : &*found;
}

Series series_of(const Curve& curve, std::string name, bool pale, const std::string& over) {
  Series series{.name = std::move(name), .x = {}, .y = {}, .pale = pale};
  for (const CurvePoint& point : curve.points) {
    series.x.push_back(over == "epochs" ? point.epoch : static_cast<double>(point.step));
    series.y.push_back(point.value);
  }
  return series;
}

}  // namespace

std::vector<RunCurves> read_runs(const Names& sources, std::string_view command) {
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
  require(!runs.empty(), "{}: expected a run with figures, got none", command);
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

Names training_figures(const Names& figures) {
  Names chosen;
  std::ranges::copy_if(figures, std::back_inserter(chosen),
                       [](const std::string& name) { return std::ranges::find(kOfMachine, name) == kOfMachine.end(); });
  return chosen;
}

Plot curve_plot(const std::vector<RunCurves>& runs, const std::vector<RunCurves>& wanted, const std::string& expected,
                const CurveChoice& choice) {
  Names commands;
  for (const RunCurves& run : runs) {
    if (!contains(commands, run.command)) commands.push_back(run.command);
  }
  Plot plot{.title = runs.size() == 1 ? runs.front().run : fmt::format("{} runs", runs.size()),
            .panels = {},
            .columns = choice.columns};
  bool matched = wanted.empty();
  for (const std::string& command : commands) {
    for (const std::string& figure : choice.figures) {
      Panel panel{.title = commands.size() == 1 || command.empty() ? figure : command + ": " + figure,
                  .x_label = choice.over == "epochs" ? "epoch" : "step",
                  .scale = contains(choice.log_scale, figure) ? Scale::kLog : Scale::kLinear,
                  .series = {}};
      for (const RunCurves& run : runs) {
        const Curve* curve = run.command == command ? find_curve(run, figure) : nullptr;
        if (curve != nullptr) panel.series.push_back(series_of(*curve, run.run, /*pale=*/false, choice.over));
      }
      if (panel.series.empty()) continue;
      for (const RunCurves& run : wanted) {
        const bool fits = run.command == command || run.command.empty() || command.empty();
        const Curve* curve = fits ? find_curve(run, figure) : nullptr;
        if (curve == nullptr) continue;
        panel.series.push_back(series_of(*curve, "expected", /*pale=*/true, choice.over));
        matched = true;
      }
      plot.panels.push_back(std::move(panel));
    }
  }
  if (!matched) log().warn("{}: shown without, it has no figure of these runs' commands", expected);
  return plot;
}

}  // namespace beit
