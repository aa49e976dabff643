#include "viz/report_page.h"

#include <doctest/doctest.h>

#include <vector>

#include "base/error.h"

namespace beit {
namespace {

const std::string kHostile = "</script><script>alert(1)</script>\"'<!--\xff";

int64_t count(const std::string& text, const std::string& part) {
  int64_t times = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++times;
  return times;
}

/// Whether elements are closed in order; scripts and styles are not looked into, some elements have no end.
bool is_balanced(const std::string& text) {
  std::vector<std::string> open;
  for (size_t at = text.find('<'); at != std::string::npos; at = text.find('<', at)) {
    const size_t end = text.find('>', at);
    if (end == std::string::npos) return false;
    std::string name = text.substr(at + 1, text.find_first_of(" >/\n", at + 2) - at - 1);
    const bool closed = text[end - 1] == '/';
    at = end + 1;
    if (name.front() == '!' || name == "meta" || name == "img" || name == "link" || closed) continue;
    if (name.front() == '/') {
      if (open.empty() || "/" + open.back() != name) return false;
      open.pop_back();
      continue;
    }
    open.push_back(name);
    if (name == "script" || name == "style") at = text.find("</" + name + ">", at);
  }
  return open.empty();
}

NamedPicture picture() { return {kHostile, {"\x89PNG\r\n", 8, 8}}; }

ReportData everything(int64_t codes) {
  const Grid grid{2, 2};
  CodeAtlas atlas;
  atlas.uses_K = torch::arange(codes);
  atlas.images_K = torch::ones({codes}, torch::kInt64);
  atlas.where_KN = torch::ones({codes, 4}, torch::kInt64);
  atlas.examples.resize(static_cast<size_t>(codes));
  atlas.examples[1] = {{.place = {0, 3}, .similarity = 0.75F}};
  atlas.images = 3;
  atlas.similarity_K = torch::full({codes}, 0.5, torch::kFloat64);
  ReportRun run;
  run.name = kHostile;
  run.command = "vqkd";
  run.state = {{"state", kHostile}};
  run.environment = {{"processor", kHostile}};
  run.configuration = {{"data", kHostile}};
  run.histogram = HistogramPlot{.title = kHostile, .y_label = kHostile, .steps = {{1, 0, {1}, {1}}}};
  run.atlas = ReportAtlas{.atlas = atlas, .grid = grid, .strips = {{1, picture().picture}}};
  run.attention = ReportAttention{
      .layers = {2},
      .depth = 2,
      .grid = grid,
      .images = {{picture(), torch::full({1, 3, 5, 5}, 255, torch::kUInt8), torch::full({1, 3, 5}, 0.2F)}}};
  run.masks = ReportMasks{.grid = grid,
                          .images = {{picture(), torch::tensor({true, true, false, false}), torch::tensor({1, 2, 3, 4}),
                                      torch::tensor({1, 5, -1, -1}), torch::tensor({0.5F, 0.25F, 0.0F, 0.0F})}}};
  run.neighbours = ReportNeighbours{.images = 9, .rows = {{picture(), {{picture(), 0.875}}}}};
  run.pictures = {picture()};
  run.missing = {kHostile};
  return {.title = kHostile, .curves = "<svg></svg>", .runs = {run, run}};
}

TEST_CASE("report page: it is well formed, and no name in it becomes markup") {
  const auto page = report_page(everything(16));
  CHECK(is_balanced(page));
  CHECK(count(page, "alert(1)") > 10);
  CHECK(count(page, "<script>alert(1)") == 0);
  for (const char* handler : {" onclick=", " onerror=", " onload="}) CHECK(count(page, handler) == 0);
  CHECK(count(page, "<h1>") == 1);
  CHECK(count(page, "<main ") == 1);
  CHECK(count(page, "<img ") == count(page, " alt=\""));
  for (const char* id : {"run-0", "run-1", "histogram-0", "histogram-1", "atlas-0", "attention-1", "masks-1"})
    CHECK(count(page, "id=\"" + std::string(id) + "\"") == 1);
}

TEST_CASE("report page: what it says is what it was given") {
  const auto page = report_page(everything(16));
  CHECK(count(page, "15 of 16 codes are used in 3 images") == 2);
  CHECK(count(page, "Of 2 masked patches the code of 1 was foretold") == 2);
  CHECK(count(page, ": 1 of 2 masked codes foretold") == 2);
  CHECK(count(page, "<b>0.875</b>") == 2);
  CHECK(count(page, "in layers 2 of 2, by each of 3 heads") == 2);
  CHECK(count(page, R"("where":{"1":[1,1,1,1]})") == 2);
  CHECK(count(page, R"("confidence":[0.5,0.25,0.0,0.0])") == 2);
}

TEST_CASE("report page: a whole codebook of 8192 takes a small part of it") {
  auto data = everything(8192);
  CHECK(report_page(data).size() < 600'000);
  data.runs[0].atlas->atlas.images_K = torch::ones({4}, torch::kInt64);
  CHECK_THROWS_WITH_AS(report_page(data), doctest::Contains("expected an atlas of 8192 codes"), Error);
}

TEST_CASE("report page: a run without anything is a page that says so") {
  ReportRun run;
  run.name = "empty";
  run.missing = {"no weights yet"};
  const auto page = report_page({.title = "t", .curves = "", .runs = {run}});
  CHECK(is_balanced(page));
  CHECK(count(page, "<li>no weights yet</li>") == 1);
  CHECK(count(page, "<h2 id=\"curves-heading\">") == 0);
}

}  // namespace
}  // namespace beit
