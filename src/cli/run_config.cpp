#include "cli/run_config.h"

namespace beit {

std::string config_toml(const std::string& command, const OptionList& options) {
  return "[" + command + "]\n" + to_toml(options);
}

std::map<std::string, std::string> config_metadata(const std::string& command, const OptionList& options) {
  return {{"format", "beit"}, {"command", command}, {"config", to_json(options)}};
}

}  // namespace beit
