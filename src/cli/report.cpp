// `beit report`: runs as one page that stands alone.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/curve_plot.h"
#include "cli/images.h"
#include "cli/recipes.h"
#include "cli/run_report.h"
#include "cli/run_state.h"
#include "cli/runtime.h"
#include "cli/table.h"
#include "io/atomic_file.h"
#include "viz/report_page.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

struct Report {
  std::vector<std::string> sources;
  std::string output, expected;
  ReportOptions shown;
  RuntimeOptions runtime;
  int64_t most_megabytes = 10;

  OptionList options() {
    return join(
        {{{.name = "RUN",
           .value = &sources,
           .help = "run folder, going or ended, or a folder with runs in or below it; again for several",
           .value_name = "RUN",
           .positional = true},
          {.name = "output", .value = &output, .help = "page to write", .value_name = "FILE.html"},
          {.name = "expected",
           .value = &expected,
           .help = "curves to show behind, pale: those of a recipe, or of a file; none: those of the recipe that the "
                   "first run follows",
           .value_name = "RECIPE|FILE.csv"},
          {.name = "tokenizer",
           .value = &shown.tokenizer,
           .help = "of pre-training runs, for masked patches; none: the one that a run was trained with",
           .value_name = "FILE|RUN"},
          {.name = "images",
           .value = &shown.images,
           .help = "images shown with masks, attention and predictions",
           .range = {.least = 1, .most = 64}},
          {.name = "codes",
           .value = &shown.codes,
           .help = "codes shown by patches",
           .range = {.least = 1, .most = 1024}},
          {.name = "examples",
           .value = &shown.examples,
           .help = "patches of a code",
           .range = {.least = 1, .most = 32}},
          {.name = "measured",
           .value = &shown.measured,
           .help = "most images for neighbours and confusion",
           .range = {.least = 2, .most = 1e7}},
          {.name = "max-mb",
           .value = &most_megabytes,
           .help = "megabytes that the page should stay below; attention, the largest part, is shown of fewer layers "
                   "and images",
           .range = {.least = 1, .most = 1000}},
          {.name = "batch-size",
           .value = &shown.batch_size,
           .help = "images at a time",
           .range = {.least = 1, .most = 1e6}}},
         pick(describe(shown.data), {"data", "workers", "apply-orientation"}),
         describe(runtime)});
  }

  void run() {
    require(!sources.empty(), "report: expected a run, got none; say `beit report RUN --output FILE.html`");
    require(output.ends_with(".html"), "report: expected a page to write, got '{}'; set --output FILE.html", output);
    require_writable(output);
    if (!shown.data.data.empty()) require_unread(output, open_images(shown.data.data, "data"));
    const auto folders = run_folders();
    const torch::Device device = apply(runtime);

    ReportData report{.title = title_of(folders), .curves = curves_of(folders), .runs = {}};
    // Base64 takes 4 bytes for 3; the other half is for pictures and the rest.
    const int64_t attention_bytes = most_megabytes * 1'000'000 / 2 * 3 / 4 / std::ssize(folders);
    for (const fs::path& folder : folders) {
      log().info("{} ...", folder.string());
      report.runs.push_back(run_report(folder, shown, attention_bytes, device, runtime.quiet));
    }
    const std::string page = report_page(report);
    write_file_atomically(output, page);
    if (std::ssize(page) > most_megabytes * 1'000'000) {
      log().warn("{}: {}, more than --max-mb {}; fewer --codes, --examples or --images make it smaller", output,
                 readable_bytes(std::ssize(page)), most_megabytes);
    }
    for (const ReportRun& one : report.runs) {
      for (const std::string& missing : one.missing) log().warn("{}: left out: {}", one.name, missing);
    }
    log().info("{} of {} run{}; {}", output, folders.size(), folders.size() == 1 ? "" : "s",
               readable_bytes(std::ssize(page)));
  }

 private:
  std::vector<fs::path> run_folders() const {
    std::vector<fs::path> folders;
    for (const std::string& source : sources) {
      const auto found = find_runs(source);
      require(!found.empty(),
              "{}: expected a run folder, or one with runs in or below it, got none with config.toml and "
              "log.jsonl",
              source);
      for (const fs::path& folder : found) {
        if (std::ranges::find(folders, folder) == folders.end()) folders.push_back(folder);
      }
    }
    return folders;
  }

  static std::string title_of(const std::vector<fs::path>& folders) {
    return folders.size() == 1 ? "Report of " + folders.front().string()
                               : fmt::format("Report of {} runs", folders.size());
  }

  /// Of all runs in one chart; empty where none has logged a figure.
  std::string curves_of(const std::vector<fs::path>& folders) const {
    constexpr int64_t kPoints = 500;
    std::vector<RunCurves> runs;
    for (const fs::path& folder : folders) {
      RunCurves one = curves_of_run(folder);
      for (Curve& curve : one.curves) thin(curve, kPoints);
      if (!one.curves.empty()) runs.push_back(std::move(one));
    }
    const auto figures = training_figures(figures_of(runs));
    if (figures.empty()) return "";
    const std::string behind = expected.empty() ? curves_of_recipe(folders.front()) : expected;
    const auto wanted = behind.empty() ? std::vector<RunCurves>() : read_expected(behind);
    Plot plot = curve_plot(runs, wanted, behind, {.figures = figures, .log_scale = {}});
    plot.id = "curves-plot";
    return svg(plot);
  }

  /// The recipe that the run follows, if there are curves of it; empty also where its configuration is damaged.
  static std::string curves_of_recipe(const fs::path& folder) try {
    const std::string recipe = recipe_of(read_settings(folder / "config.toml"));
    return find_shipped(shipped_curves(), recipe) != nullptr ? recipe : "";
  } catch (const Error&) {
    return "";
  }
};

}  // namespace

Command report_command() {
  return make_command<Report>("report", "Show runs on one page: curves, codes, masks, attention, neighbours");
}

}  // namespace beit
