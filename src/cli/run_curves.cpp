#include "cli/run_curves.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "cli/csv.h"
#include "cli/settings.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int64_t kMostBytes = 1 << 30;
constexpr size_t kMostFigures = 256;

/// Curves in the order in which they begin.
class Curves {
 public:
  void add(const std::string& figure, const CurvePoint& point) {
    const auto [found, added] = places_.try_emplace(figure, curves_.size());
    if (added) curves_.push_back({.figure = figure, .points = {}});
    curves_[found->second].points.push_back(point);
  }
  size_t size() const { return curves_.size(); }

  /// In the order of steps; of a step the last that was added.
  std::vector<Curve> take() {
    for (Curve& curve : curves_) {
      auto& points = curve.points;
      std::ranges::reverse(points);
      std::ranges::stable_sort(points, {}, &CurvePoint::step);
      const auto same = std::ranges::unique(points, {}, &CurvePoint::step);
      points.erase(same.begin(), same.end());
    }
    return std::move(curves_);
  }

 private:
  std::map<std::string, size_t> places_;
  std::vector<Curve> curves_;
};

/// The section of the run's configuration; empty for a damaged file.
std::string command_of(const fs::path& config) try {
  const auto settings = read_settings(config);
  return settings.empty() ? "" : settings.back().section;
} catch (const Error&) {
  return "";
}

std::optional<int64_t> whole(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number_integer() ? std::optional(found->get<int64_t>()) : std::nullopt;
}

std::string event_of(const Json& line) {
  const auto found = line.find("event");
  return found == line.end() ? "" : found->is_string() ? found->get<std::string>() : "?";
}

template <class Number>
std::optional<Number> number(const std::string& text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

/// Takes CSV apart, a record after the other.
class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& name) : text_(text), name_(name) {
    constexpr std::string_view kMark = "\xef\xbb\xbf";  // of UTF-8, which some programs begin with
    if (text_.starts_with(kMark)) at_ = kMark.size();
  }

  /// Empty at the end. Lines without anything are passed over.
  std::vector<std::string> next() {
    while (at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r')) line_ += text_[at_++] == '\n' ? 1 : 0;
    std::vector<std::string> fields;
    first_line_ = line_;
    if (at_ >= text_.size()) return fields;
    do fields.push_back(field());
    while (at_ < text_.size() && text_[at_++] == ',');
    line_ += at_ > 0 && text_[at_ - 1] == '\n' ? 1 : 0;
    return fields;
  }

  /// "curves.csv:3", of the record that next() gave last.
  std::string where() const { return fmt::format("{}:{}", name_, first_line_); }

 private:
  /// Ends before a comma or a line feed.
  std::string field() {
    std::string value;
    if (at_ < text_.size() && text_[at_] == '"') {
      for (++at_;; ++at_) {
        require(at_ < text_.size(), "{}: expected a text that ends with \", got the file's end", where());
        const bool is_quote = text_[at_] == '"';
        if (is_quote && (at_ + 1 == text_.size() || text_[at_ + 1] != '"')) break;
        if (is_quote) ++at_;
        line_ += text_[at_] == '\n' ? 1 : 0;
        value += text_[at_];
      }
      ++at_;
    }
    const size_t end = std::min(text_.find_first_of(",\n", at_), text_.size());
    auto rest = text_.substr(at_, end - at_);
    if (rest.ends_with('\r')) rest.remove_suffix(1);
    value += rest;
    at_ = end;
    return value;
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0;
  int64_t line_ = 1, first_line_ = 1;
};

}  // namespace

RunCurves curves_of_run(const fs::path& folder) {
  const fs::path log = folder / "log.jsonl";
  std::ifstream file(log, std::ios::binary | std::ios::ate);
  require(file.good(), "{}: expected a run folder with log.jsonl, got none that can be read", folder.string());
  require(file.tellg() <= kMostBytes, "{}: expected a log of at most {} bytes, got {}", log.string(), kMostBytes,
          static_cast<int64_t>(file.tellg()));
  file.seekg(0);
  Curves curves;
  int64_t steps_per_epoch = 0;
  // What stands after the last line break is being written, or a killed process left it.
  for (std::string text; std::getline(file, text) && !file.eof();) {
    const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object()) continue;
    const std::string event = event_of(line);
    if (event == "start" || event == "resume") steps_per_epoch = whole(line, "steps_per_epoch").value_or(0);
    const auto step = whole(line, "step"), epoch = whole(line, "epoch");
    if (!step || *step < 0 || !(event.empty() || event == "epoch")) continue;
    CurvePoint point{.step = *step, .epoch = static_cast<double>(epoch.value_or(0))};
    if (steps_per_epoch > 0) point.epoch = static_cast<double>(*step) / static_cast<double>(steps_per_epoch);
    for (const auto& [key, value] : line.items()) {
      if (!value.is_number() || key == "step" || key == "epoch") continue;
      point.value = value.get<double>();
      if (std::isfinite(point.value)) curves.add(key, point);
    }
    require(curves.size() <= kMostFigures, "{}: expected at most {} figures, got more; is it a log of training?",
            log.string(), kMostFigures);
  }
  return {.run = folder.string(), .command = command_of(folder / "config.toml"), .curves = curves.take()};
}

std::vector<RunCurves> curves_of_csv(std::string_view text, const std::string& name) {
  CsvReader reader(text, name);
  const auto head = reader.next();
  std::map<std::string, size_t> columns;
  for (size_t i = 0; i < head.size(); ++i) columns.try_emplace(head[i], i);
  for (const char* needed : {"figure", "step", "value"})
    require(
        columns.contains(needed),
        "{}: expected a head with figure, step and value, got none with '{}'; `beit curves --csv` writes such files",
        name, needed);
  std::vector<std::pair<RunCurves, Curves>> runs;
  std::map<std::pair<std::string, std::string>, size_t> places;
  for (auto fields = reader.next(); !fields.empty(); fields = reader.next()) {
    require(fields.size() == head.size(), "{}: expected {} fields, got {}", reader.where(), head.size(), fields.size());
    const auto field = [&](const char* column) {
      const auto found = columns.find(column);
      return found == columns.end() ? std::string() : fields[found->second];
    };
    const auto step = number<int64_t>(field("step"));
    require(step && *step >= 0, "{}: expected a whole number as step, got '{}'", reader.where(), field("step"));
    const auto value = number<double>(field("value"));
    require(value && std::isfinite(*value), "{}: expected a finite number as value, got '{}'", reader.where(),
            field("value"));
    const std::string epoch_text = field("epoch");
    const auto epoch = epoch_text.empty() ? std::optional(0.0) : number<double>(epoch_text);
    require(epoch && std::isfinite(*epoch), "{}: expected a number as epoch, got '{}'", reader.where(), epoch_text);
    const std::string run = columns.contains("run") ? field("run") : name;
    const auto [place, added] = places.try_emplace({run, field("command")}, runs.size());
    if (added) runs.push_back({{.run = run, .command = field("command"), .curves = {}}, {}});
    Curves& curves = runs[place->second].second;
    curves.add(field("figure"), {.step = *step, .epoch = *epoch, .value = *value});
    require(curves.size() <= kMostFigures && runs.size() <= kMostFigures,
            "{}: expected at most {} runs and figures, got more", reader.where(), kMostFigures);
  }
  std::vector<RunCurves> taken;
  for (auto& [run, curves] : runs) {
    run.curves = curves.take();
    taken.push_back(std::move(run));
  }
  return taken;
}

std::vector<RunCurves> curves_of_csv_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  require(file.good() && !fs::is_directory(path), "{}: expected a run folder or a CSV file, got none that can be read",
          path.string());
  const auto bytes = fs::is_regular_file(path) ? static_cast<int64_t>(fs::file_size(path)) : 0;
  require(bytes <= kMostBytes, "{}: expected a file of at most {} bytes, got {}", path.string(), kMostBytes, bytes);
  std::ostringstream text;
  text << file.rdbuf();
  return curves_of_csv(text.str(), path.string());
}

std::string to_csv(const std::vector<RunCurves>& runs) {
  std::string text = "run,command,figure,step,epoch,value\r\n";
  for (const RunCurves& run : runs) {
    for (const Curve& curve : run.curves) {
      const std::string start = csv_field(run.run) + ',' + csv_field(run.command) + ',' + csv_field(curve.figure);
      for (const CurvePoint& point : curve.points)
        text += fmt::format("{},{},{},{}\r\n", start, point.step, point.epoch, point.value);
    }
  }
  return text;
}

void thin(Curve& curve, int64_t most) {
  require(most >= 2, "curves: expected at least 2 points a curve, got {}", most);
  const auto count = std::ssize(curve.points);
  if (count <= most) return;
  std::vector<CurvePoint> kept;
  for (int64_t i = 0; i < most; ++i)
    kept.push_back(curve.points[static_cast<size_t>((i * (count - 1) + (most - 1) / 2) / (most - 1))]);
  curve.points = std::move(kept);
}

}  // namespace beit
