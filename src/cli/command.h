// A command of the program: `beit NAME --flags`.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/option.h"

namespace beit {

struct Command {
  std::string name;           ///< as typed, of one or two words (`data check`)
  std::string summary;        ///< one line, for --help
  OptionList options;         ///< flags and keys; point into what `run` owns
  std::function<void()> run;  ///< with the options set; Error where it cannot do its work
  /// Where set, the names of those options that were given, by a flag or a configuration file, go here.
  std::vector<std::string>* given = nullptr;
  /// Where set, the command reads its words by itself: they go here, no option is set.
  std::vector<std::string>* words = nullptr;
};

/// The value of the command's option of that name, which it has and which is of that type.
template <class Value>
const Value& value_of(const Command& command, std::string_view name) {
  return *std::get<Value*>(std::ranges::find(command.options, name, &Option::name)->value);
}

/// A command from a type whose members are its options: `OptionList options()` describes them, `void run()` works.
/// The constructor may set defaults of its own.
template <class Work>
Command make_command(std::string name, std::string summary) {
  auto work = std::make_shared<Work>();
  OptionList options = work->options();
  Command command{std::move(name), std::move(summary), std::move(options), [work] { work->run(); }};
  if constexpr (requires { work->given; }) command.given = &work->given;
  return command;
}

/// In the order of --help.
std::vector<Command> all_commands();

// Each in the file of its name; commands.cpp lists them.
Command vqkd_command();
Command tokenize_command();
Command decode_command();
Command decode_images_command();
Command pretrain_command();
Command finetune_command();
Command eval_command();
Command classify_command();
Command probe_command();
Command features_command();
Command segment_command();
Command segment_test_command();
Command codes_command();
Command codes_mosaic_command();
Command codes_shared_command();
Command serve_command();
Command convert_command();
Command export_command();
Command inspect_command();
Command pack_command();
Command recipes_command();
Command runs_command();
Command curves_command();
Command report_command();
Command plan_command();
Command bench_command();
Command data_check_command();
Command data_bench_command();
Command data_dump_command();

}  // namespace beit
