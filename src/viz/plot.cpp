#include "viz/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "viz/xml_text.h"

namespace beit {
namespace {

// In the units of the drawing; the picture is scaled to the place it is shown in. On a phone two columns are drawn at
// less than half the size: letters are large for it.
constexpr double kPanelWidth = 420, kPanelHeight = 290;
constexpr double kLeft = 66, kRight = 18, kTop = 36, kBottom = 52;  // of a panel, around its chart
constexpr double kMargin = 10, kTitle = 34, kLegendLine = 30;
constexpr double kLetter = 18, kLetterWidth = 0.56 * kLetter;  // of labels, on average
constexpr int kTicksX = 4, kTicksY = 5;

// Colours that the colour-blind can tell apart (Okabe and Ito, 2008), those that white ground bears; from the second
// round on lines are broken, too.
constexpr std::array<const char*, 7> kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                              "#56b4e9", "#e69f00", "#000000"};
constexpr std::array<const char*, 3> kDashes{"", "9 5", "3 4"};
constexpr const char* kPale = "#b8b8b8";

/// The names in the order in which they come first; pale ones last.
std::vector<const Series*> legend_of(const Plot& plot) {
  std::vector<const Series*> entries;
  for (const bool pale : {false, true}) {
    for (const Panel& panel : plot.panels) {
      for (const Series& one : panel.series) {
        const bool known = std::ranges::any_of(
            entries, [&](const Series* entry) { return entry->name == one.name && entry->pale == one.pale; });
        if (one.pale == pale && !known) entries.push_back(&one);
      }
    }
  }
  return entries;
}

/// The attributes of a series' line.
std::string stroke_of(const Series& series, const std::vector<const Series*>& legend) {
  if (series.pale) return fmt::format(R"(stroke="{}" stroke-width="7" stroke-opacity="0.6")", kPale);
  const auto entry = static_cast<size_t>(
      std::ranges::find_if(legend, [&](const Series* one) { return one->name == series.name && !one->pale; }) -
      legend.begin());
  const char* dash = kDashes[entry / kColours.size() % kDashes.size()];
  return fmt::format(R"(stroke="{}" stroke-width="2.5"{})", kColours[entry % kColours.size()],
                     *dash == 0 ? "" : fmt::format(R"( stroke-dasharray="{}")", dash));
}

std::string text_at(double x, double y, std::string_view attributes, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\"{}{}>{}</text>\n", x, y, attributes.empty() ? "" : " ", attributes,
                     xml_text(text));
}

/// Long names by their ends, which tell them apart.
std::string shortened(const std::string& name, size_t letters) {
  if (name.size() <= letters) return name;
  size_t start = name.size() - letters;
  while (start < name.size() && (static_cast<unsigned char>(name[start]) & 0xc0U) == 0x80) ++start;
  return "…" + name.substr(start);
}

/// Entries side by side, as many as a line holds. Moves `y` below them.
std::string legend_text(const std::vector<const Series*>& legend, double width, double& y) {
  constexpr double kSample = 34, kGap = 22;
  std::string text;
  double x = kMargin;
  const auto letters = static_cast<size_t>((width - 2 * kMargin - kSample) / kLetterWidth);
  for (const Series* entry : legend) {
    const std::string name = shortened(entry->name, letters);
    const double length = kSample + 6 + static_cast<double>(name.size()) * kLetterWidth;
    if (x > kMargin && x + length > width - kMargin) {
      x = kMargin;
      y += kLegendLine;
    }
    text += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x, y + 12, x + kSample,
                        y + 12, stroke_of(*entry, legend));
    text += text_at(x + kSample + 6, y + 18, "", name);
    x += length + kGap;
  }
  y += kLegendLine;
  return text;
}

/// The places of a panel's chart.
struct Frame {
  double x, y, width, height;
  Axis across, up;
  double x_of(double value) const { return x + width * across.share(value); }
  double y_of(double value) const { return y + height * (1 - up.share(value)); }
};

/// A line, and a dot for each point where there are few, so that single ones are seen too.
std::string line_text(const Series& series, Scale scale, const Frame& frame, const std::string& stroke) {
  constexpr size_t kFew = 30;
  std::string points, dots;
  size_t count = 0;
  for (size_t i = 0; i < series.x.size(); ++i) {
    if (!has_place(series.x[i], Scale::kLinear) || !has_place(series.y[i], scale)) continue;
    const double x = frame.x_of(series.x[i]), y = frame.y_of(series.y[i]);
    points += fmt::format("{}{:.1f},{:.1f}", count++ == 0 ? "" : " ", x, y);
    dots += fmt::format("M{:.1f} {:.1f}h0", x, y);
  }
  if (count == 0) return "";
  std::string text = fmt::format("<polyline points=\"{}\" {}/>\n", points, stroke);
  const bool marked = count <= kFew && (!series.pale || count == 1);
  if (marked) text += fmt::format("<path d=\"{}\" {} class=\"dots\"/>\n", dots, stroke);
  return text;
}

/// What a screen reader says of a panel: where each line begins and ends.
std::string described(const Panel& panel) {
  std::string text = fmt::format("{} over {}:", panel.title, panel.x_label);
  for (const Series& series : panel.series) {
    if (series.y.empty()) continue;
    text += fmt::format(" {} from {:.4g} to {:.4g};", series.name, series.y.front(), series.y.back());
  }
  text.back() = '.';
  return text;
}

std::string panel_text(const Panel& panel, double x, double y, const std::vector<const Series*>& legend) {
  std::vector<double> xs{0}, ys;
  for (const Series& series : panel.series) {
    require(series.x.size() == series.y.size(), "plot: expected as many x as y in '{}', got {} and {}", series.name,
            series.x.size(), series.y.size());
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (!has_place(series.x[i], Scale::kLinear) || !has_place(series.y[i], panel.scale)) continue;
      xs.push_back(series.x[i]);
      ys.push_back(series.y[i]);
    }
  }
  const Frame frame{.x = x + kLeft,
                    .y = y + kTop,
                    .width = kPanelWidth - kLeft - kRight,
                    .height = kPanelHeight - kTop - kBottom,
                    .across = axis_over(xs, Scale::kLinear, kTicksX),
                    .up = axis_over(ys, panel.scale, kTicksY)};
  std::string text = fmt::format("<g role=\"img\" aria-label=\"{}\">\n", xml_text(described(panel)));
  text += text_at(x + kMargin, y + 22, "class=\"head\"",
                  shortened(panel.title + (panel.scale == Scale::kLog ? " (log)" : ""), 38));
  std::string grid;
  const double bottom = frame.y + frame.height, right = frame.x + frame.width;
  for (const Tick& tick : frame.up.ticks) {
    const double at = frame.y_of(tick.value);
    grid += fmt::format("M{:.1f} {:.1f}H{:.1f}", frame.x, at, right);
    text += text_at(frame.x - 8, at + 6, "text-anchor=\"end\"", tick.label);
  }
  for (const Tick& tick : frame.across.ticks) {
    const double at = frame.x_of(tick.value);
    grid += fmt::format("M{:.1f} {:.1f}V{:.1f}", at, frame.y, bottom);
    text += text_at(at, bottom + 22, "text-anchor=\"middle\"", tick.label);
  }
  text += fmt::format("<path class=\"grid\" d=\"{}\"/>\n<path class=\"frame\" d=\"M{:.1f} {:.1f}V{:.1f}H{:.1f}\"/>\n",
                      grid, frame.x, frame.y, bottom, right);
  text += text_at(right, bottom + 44, "text-anchor=\"end\"", panel.x_label);
  for (const bool pale : {true, false}) {
    for (const Series& series : panel.series) {
      if (series.pale == pale) text += line_text(series, panel.scale, frame, stroke_of(series, legend));
    }
  }
  return text + "</g>\n";
}

}  // namespace

std::string svg(const Plot& plot) {
  require(plot.columns >= 1, "plot: expected at least one column, got {}", plot.columns);
  const auto panels = std::ssize(plot.panels);
  const int64_t columns = std::max<int64_t>(1, std::min<int64_t>(plot.columns, panels));
  const double width = kPanelWidth * static_cast<double>(columns);
  const auto legend = legend_of(plot);
  double y = kMargin + kTitle;
  std::string body = text_at(kMargin, kMargin + 20, "class=\"title\"",
                             shortened(plot.title, static_cast<size_t>(width / kLetterWidth) - 4));
  if (legend.size() > 1) body += legend_text(legend, width, y);
  std::string description;
  for (int64_t i = 0; i < panels; ++i) {
    const Panel& panel = plot.panels[static_cast<size_t>(i)];
    description += (i == 0 ? "" : " ") + described(panel);
    body += panel_text(panel, kPanelWidth * static_cast<double>(i % columns),
                       y + kPanelHeight * static_cast<double>(i / columns), legend);
  }
  const double height = y + kPanelHeight * static_cast<double>((panels + columns - 1) / columns);
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" id=\"{6}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" role=\"img\" aria-labelledby=\"{6}-title {6}-description\">\n"
      "<title id=\"{6}-title\">{2}</title>\n<desc id=\"{6}-description\">{3}</desc>\n"
      "<style>#{6} text{{font:{4:.0f}px system-ui,sans-serif;fill:#333}} "
      "#{6} .title{{font-weight:600;font-size:20px;fill:#111}} #{6} .head{{font-weight:600;fill:#111}} "
      "#{6} polyline,#{6} path{{fill:none;stroke-linejoin:round;stroke-linecap:round}} "
      "#{6} .grid{{stroke:#e4e4e4}} #{6} .frame{{stroke:#888}} "
      "#{6} path.dots{{stroke-width:7;stroke-dasharray:none}}</style>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{5}</svg>\n",
      width, height, xml_text(plot.title), xml_text(description), kLetter, body, plot.id);
}

}  // namespace beit
