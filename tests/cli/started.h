// The program as a user starts it.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support.h"

namespace beit {

struct Ended {
  int code = -1;
  std::string out, err;
};

inline std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// Runs `beit` with these words (without single quotes in them) and waits for its end.
inline Ended start(const std::vector<std::string>& words) {
  const TemporaryFolder folder;
  std::string line = "'" + program().string() + "'";
  for (const std::string& word : words) line += " '" + word + "'";
  const auto out = folder.path / "out", err = folder.path / "err";
  line += " > '" + out.string() + "' 2> '" + err.string() + "' < /dev/null";
  const int status = std::system(line.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text_of(out), text_of(err)};
}

/// Whether this is what every failure of a user looks like: nothing but one line on stderr, and exit code 1.
inline bool failed_with_one_line(const Ended& ended) {
  return ended.code == 1 && ended.out.empty() && ended.err.starts_with("beit: error: ") &&
         ended.err.find('\n') == ended.err.size() - 1;
}

}  // namespace beit
