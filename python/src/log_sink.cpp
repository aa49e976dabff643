#include <spdlog/sinks/sink.h>

#include <memory>
#include <string>

#include "base/log.h"
#include "module.h"

namespace beit {
namespace {

/// The numbers of Python's logging.
int python_level(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug: return 10;
    case spdlog::level::info: return 20;
    case spdlog::level::warn: return 30;
    default: return 40;
  }
}

class PythonLogging : public spdlog::sinks::sink {
 public:
  void log(const spdlog::details::log_msg& message) override {
    const py::gil_scoped_acquire python;
    try {
      const auto logger = py::module_::import("logging").attr("getLogger")("beit");
      const py::str text(message.payload.data(), message.payload.size());
      logger.attr("log")(python_level(message.level), "%s", text);
    } catch (py::error_already_set& error) {  // a handler's own failure is not the caller's
      error.discard_as_unraisable("beit: logging");
    }
  }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}
};

}  // namespace

void send_log_to_python() { log().sinks().push_back(std::make_shared<PythonLogging>()); }

}  // namespace beit
