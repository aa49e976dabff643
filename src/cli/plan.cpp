// `beit plan`: what a training run will take of memory, time and disk, measured before it starts.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/needs.h"
#include "cli/recipes.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "cli/trial.h"
#include "io/checkpoint.h"

namespace beit {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 5> kPlanned{"vqkd", "decode", "pretrain", "finetune", "segment"};

bool is_planned(const std::string& name) { return std::ranges::find(kPlanned, name) != kPlanned.end(); }

/// What of a run stands in its folder: how far it is, and the bytes of its weights and checkpoints.
void note_folder(const fs::path& folder, const std::string& resume, Extent& extent) {
  if (folder.empty() || (resume != "auto" && resume != "never")) return;
  std::error_code error;
  const auto saved = checkpoints(folder);
  for (const fs::path& path : saved) extent.bytes_there += static_cast<int64_t>(fs::file_size(path, error));
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".safetensors") extent.bytes_there += static_cast<int64_t>(at->file_size(error));
  }
  if (resume == "auto" && !saved.empty()) extent.done = step_of(saved.front());
}

/// What takes time or room and is in none of the figures.
std::vector<std::string> not_included(const Command& command) {
  std::vector<std::string> parts;
  if (const auto& paths = value_of<std::vector<std::string>>(command, "val-data"); !paths.empty()) {
    const int64_t epochs = value_of<int64_t>(command, "val-every");
    parts.push_back(fmt::format("validation on {} images, every {}", open_images(paths, "val-data").size(),
                                epochs == 1 ? "epoch" : fmt::format("{} epochs", epochs)));
  }
  std::error_code ignored;
  const auto cache = std::ranges::find(command.options, "teacher-cache", &Option::name);
  if (cache != command.options.end() && !shown(*cache).empty() && !fs::exists(shown(*cache), ignored))
    parts.push_back("making --teacher-cache, after which steps are faster than in the trial");
  if (value_of<int64_t>(command, "events-every") >= 0) parts.push_back("pictures and histograms of --events-every");
  return parts;
}

struct PlanCommand {
  std::vector<std::string> words;  // all that was typed
  std::string config, section;
  int64_t trial_steps = 5;
  bool json = false;

  OptionList options() {
    return {{.name = "CONFIG",
             .value = &config,
             .help = "configuration file or recipe of the run; any flag of the run's command may stand beside it",
             .value_name = "CONFIG",
             .positional = true},
            {.name = "section",
             .value = &section,
             .help = "which run of the file; none: the one that it has",
             .choices = {kPlanned.begin(), kPlanned.end()}},
            {.name = "trial-steps",
             .value = &trial_steps,
             .help = "steps to measure, after 2 of warm-up",
             .range = {.least = 1, .most = 1e6}},
            {.name = "json", .value = &json, .help = "print one JSON object"}};
  }

  void run() {
    const auto commands = all_commands();
    read_own_words(commands);
    choose_section();
    const Command command = chosen(commands);
    Extent extent{.epochs = value_of<int64_t>(command, "epochs"),
                  .step_limit = value_of<int64_t>(command, "steps"),
                  .checkpoint_every = value_of<int64_t>(command, "checkpoint-every"),
                  .keep_checkpoints = value_of<int64_t>(command, "keep-checkpoints"),
                  .keep_every = value_of<int64_t>(command, "keep-every")};
    const auto& output = value_of<std::string>(command, "output");
    note_folder(output, value_of<std::string>(command, "resume"), extent);
    const auto missing = not_included(command);
    if (!json) fmt::print("trying {} steps of `beit {}`\n", trial_steps, command.name);
    std::fflush(stdout);

    const Available before{.memory = available_memory(), .disk = available_disk(output)};
    const Trial trial = run_trial(command, trial_steps);
    const Needs needs = needs_of(trial, extent);
    const Available available{
        .memory = before.memory,
        .device_memory = trial.device_memory_bytes > 0 ? available_device_memory(0) : std::nullopt,
        .disk = before.disk};
    const auto lines = verdicts(trial, needs, available);
    fmt::print("{}",
               json ? json_text(command, trial, needs, available, lines, missing) : text(trial, needs, lines, missing));
    std::vector<std::string> problems;
    for (const Verdict& line : lines) {
      if (!line.remedy.empty())
        problems.push_back(
            fmt::format("{}: needs {}, {} are there; try {}", line.what, line.need, line.available, line.remedy));
    }
    require(problems.empty(), "plan: the run does not fit: {}", fmt::join(problems, "; "));
  }

 private:
  /// Sets the plan's own options from the words, among which flags of any command that can be planned may stand.
  void read_own_words(const std::vector<Command>& commands) {
    Command all{.name = "plan", .summary = {}, .options = options(), .run = {}};
    std::set<std::string> names;
    for (const Command& one : commands) {
      if (!is_planned(one.name)) continue;
      std::ranges::copy_if(one.options, std::back_inserter(all.options),
                           [&](const Option& option) { return names.insert(option.name).second; });
    }
    parse(all, commands, words);
  }

  void choose_section() {
    if (!section.empty()) return;
    require(!config.empty(), "plan: expected a configuration file or recipe, got none; say `beit plan CONFIG`");
    std::set<std::string> found;
    for (const Setting& setting : read_config(config).settings) {
      if (is_planned(setting.section)) found.insert(setting.section);
    }
    require(found.size() == 1, "{}: expected one section of [{}], got {}; say which by --section", config,
            fmt::join(kPlanned, "], ["), found.empty() ? "none" : "several");
    section = *found.begin();
  }

  /// The command of the section, its options set by file and flags.
  Command chosen(const std::vector<Command>& commands) {
    const auto found = std::ranges::find(commands, section, &Command::name);
    Command command = *found;
    for (const Option& option : options()) command.options.push_back(option);
    std::vector<std::string> all = words;
    if (!config.empty()) all.insert(all.end(), {"--config", config});
    parse(command, commands, all);
    command.options = found->options;
    return command;
  }

  static std::string text(const Trial& trial, const Needs& needs, const std::vector<Verdict>& lines,
                          const std::vector<std::string>& missing) {
    std::vector<std::vector<std::string>> rows{{"", "takes", "there is", "made of", "verdict"}};
    for (const Verdict& line : lines) {
      const bool known = !line.available.empty() && line.available != "unknown";
      const char* fits = known ? "fits" : "";
      rows.push_back({line.what, line.need, line.available, line.detail,
                      line.remedy.empty() ? fits : fmt::format("does not fit: try {}", line.remedy)});
    }
    std::string text = fmt::format(
        "{}, {}, {} rank{}; {} images, {} steps an epoch, {} in all{}\n\n", trial.device, trial.precision, trial.ranks,
        trial.ranks == 1 ? "" : "s", trial.images, trial.steps_per_epoch, needs.steps,
        needs.steps_left < needs.steps ? fmt::format(", {} of them done", needs.steps - needs.steps_left) : "");
    text += table(rows);
    constexpr double kMuchWaiting = 0.1;
    if (needs.data_wait > kMuchWaiting) text += "\nimages come too slowly: try more --workers, or `beit pack`\n";
    if (!missing.empty()) text += fmt::format("\nnot included: {}\n", fmt::join(missing, "; "));
    return text;
  }

  static std::string json_text(const Command& command, const Trial& trial, const Needs& needs,
                               const Available& available, const std::vector<Verdict>& lines,
                               const std::vector<std::string>& missing) {
    const auto known = [](const std::optional<int64_t>& value) { return value ? Json(*value) : Json(nullptr); };
    Json object{{"command", command.name},
                {"device", trial.device},
                {"precision", trial.precision},
                {"ranks", trial.ranks},
                {"threads", trial.threads},
                {"images", trial.images},
                {"batch_size", trial.batch_size},
                {"steps_per_epoch", trial.steps_per_epoch},
                {"steps", needs.steps},
                {"steps_left", needs.steps_left},
                {"step_s", needs.step_s},
                {"seconds", needs.seconds},
                {"data_wait", trial.data_wait.empty() ? Json(nullptr) : Json(needs.data_wait)},
                {"memory_bytes", needs.memory_bytes},
                {"memory_available_bytes", known(available.memory)},
                {"device_memory_bytes", needs.device_memory_bytes},
                {"device_memory_available_bytes", known(available.device_memory)},
                {"weights_bytes", trial.weights_bytes},
                {"checkpoint_bytes", trial.checkpoint_bytes},
                {"checkpoints", needs.checkpoints},
                {"disk_bytes", needs.disk_bytes},
                {"disk_bytes_more", needs.disk_bytes_more},
                {"disk_available_bytes", known(available.disk)},
                {"not_included", missing},
                {"does_not_fit", Json::array()}};
    for (const Verdict& line : lines) {
      if (!line.remedy.empty()) object["does_not_fit"].push_back(line.what);
    }
    return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  }
};

}  // namespace

Command plan_command() {
  auto plan = std::make_shared<PlanCommand>();
  return {.name = "plan",
          .summary = "Measure what a training run will take of memory, time and disk, before it starts",
          .options = plan->options(),
          .run = [plan] { plan->run(); },
          .words = &plan->words};
}

}  // namespace beit
