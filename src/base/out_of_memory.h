// Lack of memory by whatever name it is thrown.
#pragma once

#include <exception>

namespace beit {

/// Whether that is what the exception says: std::bad_alloc, or what LibTorch throws of it on a GPU and on the CPU.
bool is_out_of_memory(const std::exception& error);

}  // namespace beit
