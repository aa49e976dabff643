// Line charts as SVG: no script, no fonts or files from elsewhere; text for screen readers inside.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "viz/axis.h"

namespace beit {

struct Series {
  std::string name;          ///< in the legend; series of one name in several panels share colour and entry
  std::vector<double> x, y;  ///< equally many, x rising; points that have no place on the axes are left out
  bool pale = false;         ///< broad and behind the others: what is expected
};

struct Panel {
  std::string title;             ///< what y is
  std::string x_label;           ///< what x is; its axis begins at 0, or below where x does
  Scale scale = Scale::kLinear;  ///< of y
  std::vector<Series> series;
};

struct Plot {
  std::string title;
  std::vector<Panel> panels;
  int64_t columns = 2;      ///< panels side by side
  std::string id = "plot";  ///< of the svg element: letters, digits and hyphens; another for each in one page
};

/// An SVG document, with a legend where series have several names. Two columns are readable on a phone, more on larger
/// screens. Any text may stand in names and titles. Error for columns below 1 and for series with unequal x and y.
std::string svg(const Plot& plot);

}  // namespace beit
