// What `beit probe` found, for people and for programs.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/feature_source.h"
#include "core/metrics.h"

namespace beit {

/// A probe that is chosen by the held-out part of the training set; figures in percent, one for each seed.
struct TrainedRow {
  FeatureSet set;
  std::optional<double> lr = {};       ///< of those that sweep it
  std::vector<double> strengths = {};  ///< of L-BFGS, one for each seed
  std::vector<double> held_out = {}, top1 = {};
};

struct KnnRow {
  FeatureSet set;
  int64_t neighbours = 0;
  double temperature = 0;
  std::vector<double> top1 = {};
};

/// The row with the best mean over the seeds on the held-out part, the first of equals. Error without rows.
const TrainedRow& chosen(const std::vector<TrainedRow>& rows);

nlohmann::ordered_json spread_json(const Summary& summary);  ///< null for one seed
nlohmann::ordered_json rows_json(const std::vector<TrainedRow>& rows);
nlohmann::ordered_json rows_json(const std::vector<KnnRow>& rows);

/// "81.23% +- 0.40".
std::string percent(const Summary& summary);

/// Columns, the chosen row marked.
std::string rows_table(const std::string& title, const std::vector<TrainedRow>& rows);
std::string rows_table(const std::vector<KnnRow>& rows);

}  // namespace beit
