// A report as one page that stands alone.
#pragma once

#include <string>

#include "viz/report_data.h"

namespace beit {

/// The HTML document: a section for the curves, then one for each run. What is not there is left out, and `missing`
/// says why. Reads top to bottom without a script too; with it codes are searched and sorted, and attention and masks
/// answer to pointer and keys. Any text may stand in names and values.
std::string report_page(const ReportData& data);

}  // namespace beit
