#include "cli/probe_report.h"

#include <algorithm>

#include "base/error.h"
#include "cli/table.h"

namespace beit {
namespace {

using Json = nlohmann::ordered_json;

Json set_json(const FeatureSet& set) {
  return {{"layer", set.layer == 0 ? Json(nullptr) : Json(set.layer)}, {"pooling", set.pooling}};
}

std::string layer_of(const FeatureSet& set) { return set.layer == 0 ? "" : std::to_string(set.layer); }

double mean(const std::vector<double>& values) { return summarise(values).mean; }

}  // namespace

const TrainedRow& chosen(const std::vector<TrainedRow>& rows) {
  require(!rows.empty(), "probe: expected a result to choose from, got none");
  return *std::ranges::max_element(rows, {}, [](const TrainedRow& row) { return mean(row.held_out); });
}

Json spread_json(const Summary& summary) { return summary.spread ? Json(*summary.spread) : Json(nullptr); }

Json rows_json(const std::vector<TrainedRow>& rows) {
  auto list = Json::array();
  for (const TrainedRow& row : rows) {
    Json entry = set_json(row.set);
    if (row.lr) entry["lr"] = *row.lr;
    if (!row.strengths.empty()) entry["strengths"] = row.strengths;
    entry["held_out_top1"] = mean(row.held_out);
    entry["top1"] = mean(row.top1);
    entry["top1_spread"] = spread_json(summarise(row.top1));
    list.push_back(std::move(entry));
  }
  return list;
}

Json rows_json(const std::vector<KnnRow>& rows) {
  auto list = Json::array();
  for (const KnnRow& row : rows) {
    Json entry = set_json(row.set);
    entry["neighbours"] = row.neighbours;
    entry["temperature"] = row.temperature;
    entry["top1"] = mean(row.top1);
    entry["top1_spread"] = spread_json(summarise(row.top1));
    list.push_back(std::move(entry));
  }
  return list;
}

std::string percent(const Summary& summary) {
  return fmt::format("{:.2f}%{}", summary.mean, summary.spread ? fmt::format(" +- {:.2f}", *summary.spread) : "");
}

std::string rows_table(const std::string& title, const std::vector<TrainedRow>& rows) {
  std::vector<std::vector<std::string>> cells{{"probe", "layer", "pooling", "lr", "held-out", "top-1", ""}};
  const TrainedRow& best = chosen(rows);
  for (const TrainedRow& row : rows) {
    cells.push_back({title, layer_of(row.set), row.set.pooling, row.lr ? fmt::format("{}", *row.lr) : "",
                     percent(summarise(row.held_out)), percent(summarise(row.top1)), &row == &best ? "chosen" : ""});
  }
  return table(cells);
}

std::string rows_table(const std::vector<KnnRow>& rows) {
  std::vector<std::vector<std::string>> cells{{"probe", "layer", "pooling", "neighbours", "temperature", "top-1"}};
  for (const KnnRow& row : rows) {
    cells.push_back({"kNN", layer_of(row.set), row.set.pooling, std::to_string(row.neighbours),
                     fmt::format("{}", row.temperature), percent(summarise(row.top1))});
  }
  return table(cells);
}

}  // namespace beit
