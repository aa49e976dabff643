// `beit COMMAND ... --ranks N`: the program starts itself N times on this machine and watches over them.
#pragma once

#include "base/config.h"

namespace beit {

/// Where --ranks asks for several processes and this one is not yet one of them: starts them, each with this process's
/// own words and its place in the environment, waits for their end and returns true: there is nothing left to do.
/// False where this process is to do the work itself, alone or as a rank.
///
/// SIGINT and SIGTERM are handed on once; the ranks save and stop, and this throws Error with interrupted() set. Where
/// a rank ends in failure the others get 30 s to find out by themselves and are then killed; the Error names the rank
/// and its signal, or where there was none the ranks that failed: they have said why. The ranks die with this process,
/// however it ends. Error where --ranks contradicts the number that torchrun, srun or mpirun has started. To be called
/// before the first tensor.
bool supervise(const RankOptions& options);

/// To be called at the start of `main`: a process that supervise() started is killed when its starter ends.
void die_with_starter();

}  // namespace beit
