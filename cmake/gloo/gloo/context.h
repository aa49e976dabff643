// LibTorch's ProcessGroupGloo.hpp includes Gloo's headers, which no wheel brings. What it needs of them to be read is
// declared in this folder; our code makes and calls nothing of Gloo's, so no layout of its classes comes into it.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
