// `beit runs`: which runs there are below a folder, and how they go.
#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/run_state.h"
#include "cli/table.h"
#include "train/progress.h"

namespace beit {
namespace {

/// "7/90"; empty where neither is known.
std::string share(int64_t done, int64_t all) {
  if (all > 0) return fmt::format("{}/{}", done, all);
  return done > 0 ? std::to_string(done) : "";
}

/// In percent, which most are; the accuracies of masked codes are shares, PSNR is in decibels.
std::string shown(const RunFigure& figure) {
  if (figure.name.ends_with("psnr")) return fmt::format("{} {:.1f} dB", figure.name, figure.value);
  const bool is_share = figure.name == "val_masked_accuracy" || figure.name == "mlm_acc_1";
  const std::string name = figure.name.substr(0, figure.name.rfind("_percent"));
  return fmt::format("{} {:.1f}%", name, is_share ? 100 * figure.value : figure.value);
}

std::string place(const RunState& run) {
  std::string text = run.device;
  if (!run.precision.empty()) text += (text.empty() ? "" : " ") + run.precision;
  return run.ranks > 1 ? fmt::format("{}, {} ranks", text, run.ranks) : text;
}

std::vector<std::string> row(const RunState& run, int64_t now) {
  constexpr size_t kLongest = 60;
  const bool long_message = run.message.size() > kLongest;
  return {on_one_line(run.folder.string()),
          on_one_line(run.command),
          readable(run.stage),
          share(run.step, run.steps),
          share(run.epoch, run.epochs),
          run.loss ? fmt::format("{:.4g}", *run.loss) : "",
          run.figure ? shown(*run.figure) : "",
          run.images_per_s > 0 ? fmt::format("{:.4g}", run.images_per_s) : "",
          run.seconds_left ? readable_seconds(*run.seconds_left) : "",
          run.changed > 0 ? readable_seconds(static_cast<double>(now - run.changed)) + " ago" : "",
          readable_bytes(run.bytes),
          on_one_line(place(run)),
          on_one_line(long_message ? run.message.substr(0, kLongest) + "..." : run.message)};
}

/// Unless it is among them. One that cannot be read costs no other its line.
void add(const std::filesystem::path& path, std::vector<RunState>& runs) try {
  const bool listed = std::ranges::find(runs, path, &RunState::folder) != runs.end();
  if (!listed) runs.push_back(run_state(path));
} catch (const Error& error) {
  log().warn("{}", error.what());
}

struct Runs {
  std::vector<std::string> folders;
  bool json = false;

  OptionList options() {
    return {{.name = "DIR",
             .value = &folders,
             .help = "run folder, or a folder with runs in or below it",
             .value_name = "DIR",
             .positional = true},
            {.name = "json", .value = &json, .help = "print one JSON array"}};
  }

  void run() const {
    require(!folders.empty(), "runs: expected a folder, got none; say `beit runs DIR`");
    std::vector<RunState> runs;
    for (const std::string& folder : folders) {
      for (const auto& path : find_runs(folder)) add(path, runs);
    }
    if (json) {
      auto array = nlohmann::ordered_json::array();
      for (const RunState& one : runs) array.push_back(to_json(one));
      fmt::print("{}\n", array.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    } else if (runs.empty()) {
      fmt::print("no runs: no folder with config.toml and log.jsonl there\n");
    } else {
      const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
      std::vector<std::vector<std::string>> rows{{"run", "command", "state", "step", "epoch", "loss", "figure",
                                                  "images/s", "left", "changed", "size", "on", "why"}};
      for (const RunState& one : runs)
        rows.push_back(row(one, std::chrono::duration_cast<std::chrono::seconds>(since_1970).count()));
      fmt::print("{}", table(rows));
    }
  }
};

}  // namespace

Command runs_command() {
  return make_command<Runs>("runs", "List training runs: which go, how far, how well, and which ended how");
}

}  // namespace beit
