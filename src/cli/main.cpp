// The program: finds the command, sets its options, runs it; any failure is one line on stderr and exit code 1.
#include <algorithm>
#include <csignal>
#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "base/out_of_memory.h"
#include "base/stopped.h"
#include "base/text.h"
#include "base/version.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/launch.h"

namespace beit {
namespace {

bool asks_help(const std::string& word) { return word == "--help" || word == "-h" || word == "help"; }

/// Of the command or group of commands that the words name; of all without words.
std::string help_on(const std::vector<std::string>& words, const std::vector<Command>& commands) {
  if (words.empty()) return help(commands);
  const auto group = commands_of(commands, words[0]);
  if (words.size() > 1 || group.empty()) return help(find_command(commands, words));
  const auto alone = std::ranges::find(commands, words[0], &Command::name);  // `segment`, beside `segment test`
  if (alone == commands.end()) return help(group);
  return fmt::format("{}\nSee also `beit {} --help`.\n", help(*alone), group.front().name);
}

void run(const std::vector<std::string>& words) {
  const auto commands = all_commands();
  require(!words.empty(), "expected a command, got none; see `beit --help`");
  if (words[0] == "--version") {
    fmt::print("beit {}\n", version());
  } else if (asks_help(words[0])) {
    fmt::print("{}", help_on({words.begin() + 1, words.end()}, commands));
  } else if (words.size() == 2 && asks_help(words[1]) && !commands_of(commands, words[0]).empty()) {
    fmt::print("{}", help_on({words[0]}, commands));
  } else {
    const Command& command = find_command(commands, words);
    const auto length = 1 + std::ranges::count(command.name, ' ');  // of the name
    if (parse(command, commands, {words.begin() + length, words.end()}) == Request::kHelp) {
      fmt::print("{}", help(command));
    } else {
      command.run();
    }
  }
  require(std::fflush(stdout) == 0, "standard output: expected to write, got an error; is the disk full?");
}

int report(const std::string& message) {
  std::fflush(stdout);  // what was printed before comes before
  fmt::print(stderr, "beit: error: {}\n", on_one_line(message));
  return 1;
}

}  // namespace
}  // namespace beit

int main(int argc, char** argv) {
  constexpr const char* kOutOfMemory =
      "out of memory; a smaller --batch-size or --count, or fewer --workers, need less";
  beit::die_with_starter();
  beit::set_up_log(/*quiet=*/false);
  std::signal(SIGXFSZ, SIG_IGN);  // a file beyond the limit is an error of its writer
  try {
    beit::run({argv + 1, argv + argc});
    return 0;
  } catch (const beit::Stopped& stopped) {
    beit::report(stopped.what());
    return beit::kInterruptedExit;
  } catch (const beit::Error& error) {
    return beit::report(error.what());
  } catch (const std::exception& error) {
    return beit::report(beit::is_out_of_memory(error) ? kOutOfMemory : beit::first_line(error.what()));
  }
}
