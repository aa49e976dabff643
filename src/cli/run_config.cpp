#include "cli/run_config.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "base/fingerprint.h"
#include "base/version.h"
#include "cli/runtime.h"

namespace beit {
namespace {

/// Of what decides which image has which number.
std::string fingerprint(const Dataset& images) {
  Fingerprint print;
  for (int64_t i = 0; i < images.size(); ++i) {
    print.add(images.path(i));
    print.add(std::to_string(images.label(i)));
  }
  return fmt::format("{} ({:016x})", images.size(), print.value());
}

}  // namespace

std::string config_toml(const std::string& command, const OptionList& options) {
  return "[" + command + "]\n" + to_toml(options);
}

std::map<std::string, std::string> config_metadata(const std::string& command, const OptionList& options) {
  return {{"format", "beit"}, {"command", command}, {"config", to_json(options)}};
}

std::map<std::string, std::string> run_metadata(const std::string& command, const OptionList& options,
                                                const Dataset& images, int64_t ranks, int64_t parts) {
  auto metadata = config_metadata(command, options);
  metadata.emplace("images", fingerprint(images));
  metadata.emplace("version", version());
  metadata.emplace("ranks", std::to_string(ranks));
  metadata.emplace("parts", std::to_string(parts));
  metadata.emplace("processor", processor());
  metadata.emplace("threads", std::to_string(at::get_num_threads()));
  return metadata;
}

}  // namespace beit
