// The sections of a report that answer to pointer and keys: their HTML, and the data that web/report_*.js read.
#pragma once

#include <string>
#include <string_view>

#include "viz/report_data.h"

namespace beit {

/// Each is a `section` with a heading of level 3; `id` tells its elements from those of other runs. Error where tensors
/// and grid do not fit.
std::string atlas_html(const ReportAtlas& atlas, std::string_view id);
std::string attention_html(const ReportAttention& attention, std::string_view id);
std::string masks_html(const ReportMasks& masks, std::string_view id);

/// A `figure` of a picture with its name below it, and with `more`, HTML, after the name.
std::string figure_html(const NamedPicture& image, std::string_view more = {});

}  // namespace beit
