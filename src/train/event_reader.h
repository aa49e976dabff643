// What event files say of a run (train/events.h writes them).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "viz/histogram_plot.h"

namespace beit {

/// The histograms under a tag in the event files of `folder`, read in the order of their names: rising steps; what a
/// resumed run said anew counts, not what was said before. Of a damaged file what comes before the damage counts; a
/// folder without any is empty. At most 10,000.
std::vector<StepHistogram> read_histograms(const std::filesystem::path& folder, const std::string& tag);

}  // namespace beit
