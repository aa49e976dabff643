#include "viz/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>
#include <utility>

#include "base/error.h"

namespace beit {
namespace {

constexpr double kFarthest = 1e100;

/// 3e-5, -1.2e+7 as 1.2e7.
std::string scientific(double value) {
  std::string text = fmt::format("{:.3g}", value);
  const auto mark = text.find('e');
  if (mark == std::string::npos) text = fmt::format("{:.2e}", value);
  const auto at = text.find('e');
  std::string head = text.substr(0, at);
  if (head.find('.') != std::string::npos) {
    head.erase(head.find_last_not_of('0') + 1);
    if (head.back() == '.') head.pop_back();
  }
  return fmt::format("{}e{}", head, std::stoi(text.substr(at + 1)));
}

/// `spacing` is that of neighbouring ticks: so many decimals are shown that it is seen.
std::string label(double value, double spacing) {
  constexpr std::array<std::pair<double, const char*>, 4> kUnits{{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}};
  const double size = std::abs(value);
  if (size < spacing * 1e-6) return "0";
  if (size < 1e-3 || (size < 1e-2 && spacing < 1e-3) || size >= 1e15) return scientific(value);
  double unit = 1;
  const char* name = "";
  if (size >= 1e4 || (size >= 1e3 && spacing >= 1e3)) {
    const auto* found = std::ranges::find_if(kUnits, [&](const auto& one) { return size >= one.first; });
    unit = found->first;
    name = found->second;
  }
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(spacing / unit) - 1e-9)), 0, 9);
  std::string text = fmt::format("{:.{}f}", value / unit, decimals);
  if (decimals > 0) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text + name;
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below.
double round_up(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= value * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

std::vector<Tick> linear_ticks(double least, double most, int about) {
  const double spacing = round_up((most - least) / about);
  const double slack = spacing * 1e-6;
  std::vector<Tick> ticks;
  const double first = std::ceil((least - slack) / spacing);
  for (int i = 0; i <= 3 * about; ++i) {
    const double value = (first + i) * spacing;
    if (value > most + slack) break;
    ticks.push_back({std::clamp(value, least, most), label(value, spacing)});
  }
  return ticks;
}

std::vector<Tick> log_ticks(double least, double most, int about) {
  const int first = static_cast<int>(std::floor(std::log10(least))), last = static_cast<int>(std::log10(most)) + 1;
  const auto ticks_at = [&](std::initializer_list<int> factors, int stride) {
    std::vector<Tick> ticks;
    for (int power = first; power <= last; ++power) {
      if (power % stride != 0) continue;
      for (const int factor : factors) {
        const double value = factor * std::pow(10, power);
        if (value >= least * (1 - 1e-9) && value <= most * (1 + 1e-9))
          ticks.push_back({std::clamp(value, least, most), label(value, value)});
      }
    }
    return ticks;
  };
  const double decades = std::log10(most / least);
  auto ticks =
      decades > 2 ? ticks_at({1}, std::max(1, static_cast<int>(std::ceil(decades / about)))) : ticks_at({1, 2, 5}, 1);
  return ticks.size() >= 2 ? ticks : linear_ticks(least, most, about);
}

}  // namespace

double Axis::share(double value) const {
  if (scale == Scale::kLog) return std::log(value / least) / std::log(most / least);
  return (value - least) / (most - least);
}

bool has_place(double value, Scale scale) {
  return std::isfinite(value) && std::abs(value) <= kFarthest && (scale == Scale::kLinear || value >= 1 / kFarthest);
}

Axis axis_over(const std::vector<double>& values, Scale scale, int ticks) {
  require(ticks >= 2, "axis: expected at least 2 ticks, got {}", ticks);
  require(std::ranges::all_of(values, [&](double value) { return has_place(value, scale); }),
          "axis: expected values that have a place on the axis");
  Axis axis{.scale = scale, .least = scale == Scale::kLog ? 0.1 : 0.0, .most = 1.0, .ticks = {}};
  if (!values.empty()) std::tie(axis.least, axis.most) = std::pair(std::ranges::min(values), std::ranges::max(values));
  // Ends that no eye and hardly a double can tell apart.
  const double size = std::max(std::abs(axis.least), std::abs(axis.most));
  if (axis.most - axis.least <= std::max(size * 1e-6, 1 / kFarthest)) {
    const double room = scale == Scale::kLog ? axis.least / 2 : std::max(size / 10, 1 / kFarthest);
    const double middle = axis.least;
    axis.least = middle - (size > 0 ? room : 0);
    axis.most = middle + (size > 0 ? room : 1);
  }
  axis.ticks =
      scale == Scale::kLog ? log_ticks(axis.least, axis.most, ticks) : linear_ticks(axis.least, axis.most, ticks);
  return axis;
}

}  // namespace beit
