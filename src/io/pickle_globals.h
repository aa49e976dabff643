// What a pickle may name.
#pragma once

#include <string_view>

namespace beit {

/// Whether loading a pickle that names this global in Python may run programs or code of the pickle's choice: the
/// modules that start programs, import, compile, or reach the network or raw memory, and the built-in functions; a
/// built-in type is harmless. We run nothing of a pickle in any case; but a file that names these is not to be trusted.
bool runs_code(std::string_view module, std::string_view name);

}  // namespace beit
