// The end of what a signal stopped.
#pragma once

#include "base/error.h"

namespace beit {

/// In place of an Error where SIGINT or SIGTERM came: what was done is safe, and the same command goes on.
class Stopped : public Error {
 public:
  using Error::Error;
};

}  // namespace beit
