// The module beit._beit.
#include "module.h"

#include <c10/util/Exception.h>
#include <torch/csrc/Exceptions.h>

#include <exception>

#include "base/error.h"

namespace beit {
namespace {

/// What LibTorch throws is to Python what torch's own functions raise for it.
void translate_engine_error(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const c10::Error&) {
    torch::translate_exception_to_python(thrown);
  }
}

}  // namespace
}  // namespace beit

PYBIND11_MODULE(_beit, scope) {
  // Translators of this module alone, the latest asked first.
  py::register_local_exception_translator(&beit::translate_engine_error);
  py::register_local_exception<beit::Error>(scope, "Error", PyExc_ValueError);
  scope.attr("Error").attr("__doc__") =
      "What a caller can mend, in one line: where, what was expected, what came and what to try.";
  beit::send_log_to_python();
  beit::add_images(scope);
  beit::add_tokenizer(scope);
  beit::add_backbone(scope);
  beit::add_heads(scope);
}
