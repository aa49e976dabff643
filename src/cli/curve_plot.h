// The figures of runs as a line chart: what `beit curves` draws and `beit report` begins with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/run_curves.h"
#include "viz/plot.h"

namespace beit {

/// Of run folders, folders with runs in or below them, and CSV files of `beit curves --csv`, each once, in this order;
/// runs of one name and command get a number. A run without figures is left out with a warning. Error, which starts
/// with `command`, where none is left.
std::vector<RunCurves> read_runs(const std::vector<std::string>& sources, std::string_view command);

/// Of a file, or shipped with the recipe of that name. Error where there is neither, with the nearest name.
std::vector<RunCurves> read_expected(const std::string& name);

/// Of all runs, each once, in the order in which they come first.
std::vector<std::string> figures_of(const std::vector<RunCurves>& runs);

/// Without those that tell of the machine: speed, waiting, memory and time left.
std::vector<std::string> training_figures(const std::vector<std::string>& figures);

struct CurveChoice {
  std::vector<std::string> figures, log_scale;
  std::string over = "steps";  ///< or epochs
  int64_t columns = 2;
};

/// A panel for each figure of each command: the loss of one is not that of another. Behind the runs, pale, those that
/// are `wanted` of the same command; warns where there is none, calling them by `expected`.
Plot curve_plot(const std::vector<RunCurves>& runs, const std::vector<RunCurves>& wanted, const std::string& expected,
                const CurveChoice& choice);

}  // namespace beit
