#include "cli/run_config.h"

#include "cli/runtime.h"

namespace beit {

std::string config_toml(const std::string& command, const OptionList& options) {
  return "[" + command + "]\n" + to_toml(options);
}

std::map<std::string, std::string> config_metadata(const std::string& command, const OptionList& options) {
  return {{"format", "beit"}, {"command", command}, {"config", to_json(options)}};
}

std::map<std::string, std::string> run_metadata(const std::string& command, const OptionList& options) {
  auto metadata = config_metadata(command, options);
  metadata.emplace("processor", processor());
  metadata.emplace("threads", std::to_string(at::get_num_threads()));
  return metadata;
}

}  // namespace beit
