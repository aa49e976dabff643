#include "base/log.h"

#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>

namespace beit {
namespace {

std::shared_ptr<spdlog::logger>& instance() {
  static auto logger = std::make_shared<spdlog::logger>("beit", std::make_shared<spdlog::sinks::null_sink_mt>());
  return logger;
}

}  // namespace

spdlog::logger& log() { return *instance(); }

void set_up_log(bool quiet) {
  // Two sinks share out the levels: below warning to stdout, the rest to stderr.
  class BelowWarning : public spdlog::sinks::stdout_sink_mt {
   public:
    void log(const spdlog::details::log_msg& message) override {
      if (message.level < spdlog::level::warn) spdlog::sinks::stdout_sink_mt::log(message);
    }
  };
  auto lines = std::make_shared<BelowWarning>();
  lines->set_pattern("%v");
  auto warnings = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  warnings->set_pattern("beit: %l: %v");
  warnings->set_level(spdlog::level::warn);
  instance() = std::make_shared<spdlog::logger>("beit", spdlog::sinks_init_list{lines, warnings});
  instance()->set_level(quiet ? spdlog::level::warn : spdlog::level::info);
  instance()->flush_on(spdlog::level::info);
}

}  // namespace beit
