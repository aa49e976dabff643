// One axis of a line chart: its ends, its round ticks and their labels.
#pragma once

#include <string>
#include <vector>

namespace beit {

enum class Scale { kLinear, kLog };

struct Tick {
  double value = 0;
  std::string label;  ///< 0.25, 40k, 3e-5
};

/// From `least` to `most`, which differ; both positive where the scale is kLog.
struct Axis {
  Scale scale = Scale::kLinear;
  double least = 0, most = 1;
  std::vector<Tick> ticks;  ///< rising, within both ends

  /// Where the value lies: 0 at `least`, 1 at `most`.
  double share(double value) const;
};

/// Whether a value can stand on an axis: finite, at most 1e100 away from 0, and on kLog at least 1e-100.
bool has_place(double value, Scale scale);

/// An axis over the values, all of which have a place, with about `ticks` (from 2) ticks at 1, 2 or 5 times a power of
/// ten; ends are where the values end. Equal values get room on both sides; without any the axis goes from 0 to 1, or
/// from 0.1 to 1. Error for values without a place.
Axis axis_over(const std::vector<double>& values, Scale scale, int ticks);

}  // namespace beit
