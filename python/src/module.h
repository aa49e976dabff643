// The parts of the module beit._beit. What they add is described for Python's users in python/beit/_beit.pyi.
#pragma once

#include <torch/csrc/utils/pybind.h>

namespace beit {

/// What the library logs goes to Python's logger "beit".
void send_log_to_python();

void add_images(py::module_& scope);
void add_tokenizer(py::module_& scope);
void add_backbone(py::module_& scope);
void add_heads(py::module_& scope);  ///< Classifier and Segmenter

}  // namespace beit
