// Where this process stands among those that train together, as its starter says in the environment.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace beit {

struct RankPlace {
  int64_t rank = 0, ranks = 1;              ///< of all; rank in [0, ranks)
  int64_t local_rank = 0, local_ranks = 1;  ///< of those on this machine
  std::string host = "127.0.0.1";           ///< where the store is served: rank 0's machine, or the starter's
  int64_t port = 0;                         ///< of the store
  bool store_is_hosted = false;             ///< by the starter, not by rank 0
  std::string run = {};                     ///< tells apart what several starts of the job write into one store
};

/// The value of an environment variable; nothing where it is not set.
using Variable = std::function<std::optional<std::string>(const std::string& name)>;

/// From the variables of, in this order: torchrun (or anything else that sets RANK and WORLD_SIZE), Open MPI's mpirun,
/// that of MPICH and Intel MPI, and Slurm's srun (a step of one task is no group). MASTER_ADDR and MASTER_PORT win
/// where they are set. Nothing for a process that is alone.
/// Error where the variables contradict one another, or where several machines are in it and no starter names one.
std::optional<RankPlace> rank_place(const Variable& variable);

/// Of this process's own environment.
std::optional<RankPlace> rank_place();

/// The first host of Slurm's short form of a list: "node[01-04,07],login1" gives "node01".
std::string first_host(const std::string& hosts);

}  // namespace beit
