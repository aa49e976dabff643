// The state that one rank read from a file, on all of them.
#pragma once

#include <optional>

#include "io/checkpoint.h"
#include "train/distributed.h"

namespace beit {

/// What the first rank hands in, on all ranks; no other needs to see its files. Collective.
std::optional<Checkpoint> shared(Distributed& distributed, std::optional<Checkpoint> state);

/// Error, the same on all ranks, that names those whose tensors have another hash of their bits than the first's.
/// Collective.
void require_equal(Distributed& distributed, const TensorMap& tensors);

}  // namespace beit
