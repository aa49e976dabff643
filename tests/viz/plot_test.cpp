#include "viz/plot.h"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "base/error.h"
#include "viz/xml_text.h"

namespace beit {
namespace {

/// How often it stands there.
int64_t count(const std::string& text, const std::string& part) {
  int64_t times = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++times;
  return times;
}

/// Whether each tag is closed in order, and no marked character stands outside of tags.
bool is_balanced(const std::string& text) {
  std::vector<std::string> open;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '>') return false;
    if (text[at] != '<') {
      ++at;
      continue;
    }
    const size_t end = text.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = text.substr(at + 1, end - at - 1);
    if (tag.find('<') != std::string::npos || count(tag, "\"") % 2 != 0) return false;
    const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
    if (tag.front() == '/') {
      if (open.empty() || "/" + open.back() != tag) return false;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
    at = end + 1;
  }
  return open.empty();
}

Panel panel(const std::string& title, std::vector<Series> series) {
  return {.title = title, .x_label = "step", .series = std::move(series)};
}

TEST_CASE("plot: each series is a line, in one colour and with one entry in the legend over all panels") {
  const Plot plot{.title = "two runs",
                  .panels = {panel("loss", {{"first", {1, 2, 3}, {3, 2, 1}}, {"second", {1, 2, 3}, {3, 3, 3}}}),
                             panel("lr", {{"second", {1, 2, 3}, {0, 1, 0}}})}};
  const std::string text = svg(plot);
  CHECK(is_balanced(text));
  CHECK(count(text, "<polyline") == 3);
  CHECK(count(text, ">first</text>") == 1);
  CHECK(count(text, ">second</text>") == 1);
  CHECK(count(text, ">loss</text>") == 1);
  CHECK(count(text, ">step</text>") == 2);
  // The legend's sample, the line and the dots of one panel; of the second series in both.
  CHECK(count(text, "#0072b2") == 3);
  CHECK(count(text, "#d55e00") == 5);
  CHECK(count(text, "<script") == 0);
}

TEST_CASE("plot: it is told to those who do not see it") {
  const std::string text = svg({.title = "a run", .panels = {panel("loss", {{"base", {1, 9}, {12.5, 0.25}}})}});
  CHECK(text.find("<title id=\"plot-title\">a run</title>") != std::string::npos);
  CHECK(text.find("loss over step: base from 12.5 to 0.25.</desc>") != std::string::npos);
  CHECK(count(text, "role=\"img\"") == 2);
}

TEST_CASE("plot: lines go where the values lie, higher ones further up") {
  const std::string text = svg({.title = "", .panels = {panel("y", {{"a", {0, 1, 2}, {0, 1, 0.5}}})}});
  const auto start = text.find("points=\"") + 8;
  double x[3], y[3];
  REQUIRE(std::sscanf(text.c_str() + start, "%lf,%lf %lf,%lf %lf,%lf", &x[0], &y[0], &x[1], &y[1], &x[2], &y[2]) == 6);
  CHECK(x[1] - x[0] == doctest::Approx(x[2] - x[1]).epsilon(0.01));
  CHECK(x[1] > x[0]);
  CHECK(y[1] < y[0]);
  CHECK(y[2] == doctest::Approx((y[0] + y[1]) / 2).epsilon(0.01));
}

TEST_CASE("plot: what is expected lies behind, and comes last in the legend") {
  const Series expected{.name = "expected", .x = {1, 2}, .y = {1, 2}, .pale = true};
  const std::string text = svg({.title = "", .panels = {panel("loss", {expected, {"mine", {1, 2}, {2, 1}}})}});
  CHECK(text.find(">mine</text>") < text.find(">expected</text>"));
  const auto pale = text.find("stroke-opacity", text.find("<polyline"));
  CHECK(pale < text.find("#0072b2", text.find("<polyline")));
}

TEST_CASE("plot: points without a place are left out; a panel may be empty") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  Panel log = panel("lr", {{"a", {1, 2, 3, 4}, {0, 1e-3, nan, 1e-4}}});
  log.scale = Scale::kLog;
  const std::string text =
      svg({.title = "", .panels = {log, panel("loss", {{"a", {1, 2}, {infinity, 1e300}}}), panel("", {})}});
  CHECK(is_balanced(text));
  CHECK(count(text, "<polyline") == 1);
  CHECK(text.find("nan,") == std::string::npos);
  CHECK(text.find("inf,") == std::string::npos);
  CHECK(is_balanced(svg({.title = "", .panels = {}})));
}

TEST_CASE("plot: any text may stand in names") {
  CHECK(xml_text("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#39;");
  CHECK(xml_text("Größe €𝄞") == "Größe €𝄞");
  const std::string bad = "\xef\xbf\xbd";
  CHECK(xml_text(std::string("a\0\x1b", 3)) == "a" + bad + bad);
  CHECK(xml_text("\xff\xc0\xaf") == bad + bad + bad);                      // no UTF-8, and a longer form than needed
  CHECK(xml_text("\xed\xa0\x80") == bad + bad + bad);                      // half of a surrogate pair
  CHECK(xml_text("\xef\xbf\xbf\xe2\x82") == bad + bad + bad + bad + bad);  // no character; cut off
  const std::string name = "</text><script>alert(1)</script>\xff";
  const std::string text = svg({.title = name, .panels = {panel(name, {{name, {1, 2}, {1, 2}}})}});
  CHECK(is_balanced(text));
  CHECK(count(text, "<script") == 0);
}

TEST_CASE("plot: many and long names have room") {
  std::vector<Series> series;
  for (int i = 0; i < 30; ++i) series.push_back({"run " + std::to_string(i), {1, 2}, {0, 1.0 * i}});
  series.push_back({std::string(5000, 'x') + "the end", {1, 2}, {0, 1}});
  const std::string text = svg({.title = "", .panels = {panel("loss", series)}});
  CHECK(is_balanced(text));
  CHECK(count(text, "the end</text>") == 1);
  CHECK(count(text, "stroke-dasharray=\"9 5\"") > 0);  // colours come again, the lines differ
}

TEST_CASE("plot: columns and points that cannot be are refused") {
  CHECK_THROWS_AS(svg({.title = "", .panels = {}, .columns = 0}), Error);
  CHECK_THROWS_WITH_AS(svg({.title = "", .panels = {panel("loss", {{"a", {1, 2}, {1}}})}}),
                       "plot: expected as many x as y in 'a', got 2 and 1", Error);
}

}  // namespace
}  // namespace beit
