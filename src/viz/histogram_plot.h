// How a distribution moves over a run: steps to the right, values upwards, the darker the more there are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace beit {

/// Of one step: `counts` values lie between the limit before, or `least`, and theirs.
struct StepHistogram {
  int64_t step = 0;
  double least = 0;
  std::vector<double> limits = {}, counts = {};  ///< limits rising
};

struct HistogramPlot {
  std::string title, y_label;
  std::vector<StepHistogram> steps;  ///< rising
  std::string id = "histogram";      ///< of the svg element, as Plot::id
};

/// An SVG document: a column for each step, at most 64 evenly chosen ones with the first and the last, each as dark as
/// its share of its own column's largest, by the square root. Error where limits and counts are not equally many.
std::string svg(const HistogramPlot& plot);

}  // namespace beit
