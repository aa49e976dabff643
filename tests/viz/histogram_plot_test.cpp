#include "viz/histogram_plot.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace beit {
namespace {

int64_t count(const std::string& text, const std::string& part) {
  int64_t times = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++times;
  return times;
}

TEST_CASE("histogram plot: what is alike is one dark square a step, what is spread out a column") {
  HistogramPlot plot{.title = "uses", .y_label = "uses", .steps = {{10, 0, {0, 4}, {5, 0}}, {20, 0, {4}, {8}}}};
  const auto text = svg(plot);
  CHECK(count(text, "fill-opacity=\"1.00\"") == 1 + 32);
  CHECK(count(text, ">step 10</text>") == 1);
  CHECK(count(text, ">step 20</text>") == 1);
  CHECK(text.find("uses over 2 steps, from step 10 to 20.") != std::string::npos);
}

TEST_CASE("histogram plot: many steps are thinned, titles are texts, and none or damaged ones do no harm") {
  HistogramPlot plot{.title = "<b>", .y_label = "y", .steps = {}};
  for (int64_t step = 1; step <= 1000; ++step) plot.steps.push_back({step, 0, {1}, {1}});
  const auto text = svg(plot);
  CHECK(count(text, "<rect x=") == 64 * 32);
  CHECK(count(text, "<b>") == 0);
  CHECK(count(text, ">step 1</text>") == 1);
  CHECK(count(text, ">step 1000</text>") == 1);
  plot.steps.clear();
  CHECK(count(svg(plot), "<rect x=") == 0);
  plot.steps.push_back({1, 0, {1e300, 2}, {0, 0}});
  CHECK(count(svg(plot), "nan") == 0);
  plot.steps.push_back({2, 0, {1, 2}, {1}});
  CHECK_THROWS_WITH_AS(svg(plot), doctest::Contains("as many limits as counts, got 2 and 1"), Error);
}

}  // namespace
}  // namespace beit
