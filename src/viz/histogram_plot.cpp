#include "viz/histogram_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "viz/axis.h"
#include "viz/xml_text.h"

namespace beit {
namespace {

constexpr int64_t kMostColumns = 64;
constexpr size_t kBins = 32;
constexpr double kWidth = 840, kHeight = 320, kLeft = 66, kRight = 18, kTop = 48, kBottom = 52;  // of the drawing

/// Counts of `histogram`, each spread evenly over its interval, in kBins equal ones over the axis.
std::array<double, kBins> binned(const StepHistogram& histogram, const Axis& up) {
  std::array<double, kBins> bins{};
  double from = histogram.least;
  for (size_t i = 0; i < histogram.limits.size(); ++i) {
    const double begin = up.share(from) * kBins, end = up.share(histogram.limits[i]) * kBins;
    const double length = end - begin;
    from = histogram.limits[i];
    for (size_t bin = 0; bin < kBins; ++bin) {
      const auto low = static_cast<double>(bin);
      if (length <= 0) {
        const bool inside = begin >= low && (begin < low + 1 || bin + 1 == kBins);
        if (inside) bins[bin] += histogram.counts[i];
        continue;
      }
      const double shared = std::min(end, low + 1) - std::max(begin, low);
      if (shared > 0) bins[bin] += histogram.counts[i] * shared / length;
    }
  }
  return bins;
}

std::vector<const StepHistogram*> chosen(const std::vector<StepHistogram>& steps) {
  std::vector<const StepHistogram*> shown;
  const auto count = std::ssize(steps), columns = std::min<int64_t>(count, kMostColumns);
  for (int64_t i = 0; i < columns; ++i)
    shown.push_back(&steps[static_cast<size_t>(columns == 1 ? 0 : i * (count - 1) / (columns - 1))]);
  return shown;
}

}  // namespace

std::string svg(const HistogramPlot& plot) {
  std::vector<double> ends{0};
  for (const StepHistogram& one : plot.steps) {
    require(one.limits.size() == one.counts.size(), "plot: expected as many limits as counts, got {} and {}",
            one.limits.size(), one.counts.size());
    for (const double limit : one.limits) {
      if (has_place(limit, Scale::kLinear)) ends.push_back(limit);
    }
    if (has_place(one.least, Scale::kLinear)) ends.push_back(one.least);
  }
  const Axis up = axis_over(ends, Scale::kLinear, 5);
  const double width = kWidth - kLeft - kRight, height = kHeight - kTop - kBottom;
  const auto shown = chosen(plot.steps);
  const double column_width = width / static_cast<double>(std::max<size_t>(shown.size(), 1));
  const double bin_height = height / static_cast<double>(kBins);
  std::string body;
  for (size_t column = 0; column < shown.size(); ++column) {
    const auto bins = binned(*shown[column], up);
    const double most = std::ranges::max(bins);
    for (size_t bin = 0; bin < kBins; ++bin) {
      const double share = most > 0 ? std::sqrt(std::max(0.0, bins[bin] / most)) : 0.0;
      if (!(share >= 0.02)) continue;
      body += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill-opacity=\"{:.2f}\"/>\n",
          kLeft + column_width * static_cast<double>(column), kTop + height - bin_height * static_cast<double>(bin + 1),
          column_width + 0.1, bin_height + 0.1, share);
    }
  }
  std::string labels = fmt::format("<text x=\"10\" y=\"28\" class=\"title\">{}</text>\n", xml_text(plot.title));
  for (const Tick& tick : up.ticks) {
    labels += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft - 8,
                          kTop + height * (1 - up.share(tick.value)) + 6, xml_text(tick.label));
  }
  const auto step_label = [&](double x, const char* anchor, int64_t step) {
    labels += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">step {}</text>\n", x, kHeight - 24,
                          anchor, step);
  };
  std::string description = fmt::format("{} over {} steps", plot.y_label, plot.steps.size());
  if (!shown.empty()) {
    step_label(kLeft, "start", shown.front()->step);
    if (shown.size() > 1) step_label(kWidth - kRight, "end", shown.back()->step);
    description += fmt::format(", from step {} to {}", shown.front()->step, shown.back()->step);
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" id=\"{0}\" viewBox=\"0 0 {1:.0f} {2:.0f}\" width=\"{1:.0f}\" "
      "height=\"{2:.0f}\" role=\"img\" aria-labelledby=\"{0}-title {0}-description\">\n<title id=\"{0}-title\">{3}"
      "</title>\n<desc id=\"{0}-description\">{4}.</desc>\n<style>#{0} text{{font:18px "
      "system-ui,sans-serif;fill:#333}} "
      "#{0} .title{{font-weight:600;fill:#111}}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
      "<g fill=\"#0072b2\">\n{5}</g>\n{6}</svg>\n",
      plot.id, kWidth, kHeight, xml_text(plot.title), xml_text(description), body, labels);
}

}  // namespace beit
