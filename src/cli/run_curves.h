// The figures of training runs over their steps: read from logs, kept as CSV (docs/FORMATS.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace beit {

struct CurvePoint {
  int64_t step = 0;
  double epoch = 0;  ///< step over the steps of an epoch, where the log tells these; else the epoch's number, from 1
  double value = 0;
};

struct Curve {
  std::string figure;              ///< its key in log.jsonl
  std::vector<CurvePoint> points;  ///< rising steps, values are finite
};

struct RunCurves {
  std::string run;            ///< its folder
  std::string command;        ///< empty where nothing tells
  std::vector<Curve> curves;  ///< in the order in which they begin
};

/// The figures in the log of a run folder, going or ended: every number in the lines of steps and of epochs. Of a step
/// that stands there twice the later line counts. A log that is damaged tells less, as with `beit runs`. Error where
/// there is no log that can be read, or one of more than 1 GiB or 256 figures.
RunCurves curves_of_run(const std::filesystem::path& folder);

/// The runs in CSV text with a head that names figure, step and value, also run, command and epoch if they are there,
/// in any order; without run, `name` is it. Errors name it and the line: a head without these, a line of another number
/// of fields, quotes that do not end, a step that is no whole number, a value that is not finite.
std::vector<RunCurves> curves_of_csv(std::string_view text, const std::string& name);
std::vector<RunCurves> curves_of_csv_file(const std::filesystem::path& path);

/// RFC 4180, with the head run,command,figure,step,epoch,value; numbers are written so that they are read as they were.
std::string to_csv(const std::vector<RunCurves>& runs);

/// At most `most` (from 2) points, evenly among those there are, the first and last one kept.
void thin(Curve& curve, int64_t most);

}  // namespace beit
