#include "cli/as_trained.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/log.h"

namespace beit {

void take_as_trained(OptionList options, const std::vector<std::string>& given, std::string_view config,
                     std::string_view where) {
  if (config.empty()) return;
  std::erase_if(options, [&](const Option& option) { return std::ranges::find(given, option.name) != given.end(); });
  from_json(options, config, where);
  std::vector<std::string> taken;
  for (const Option& option : options) taken.push_back(fmt::format("--{} {}", option.name, shown(option)));
  log().info("as in training, unless said otherwise: {}", fmt::join(taken, ", "));
}

}  // namespace beit
