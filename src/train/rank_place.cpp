#include "train/rank_place.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"

namespace beit {
namespace {

constexpr int64_t kDefaultPort = 29500;  // torchrun's
constexpr int64_t kMostRanks = 1 << 20;

int64_t number(const std::string& text, const std::string& name, int64_t least, int64_t most) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size() && value >= least && value <= most,
          "environment: expected {} to be a whole number from {} to {}, got '{}'", name, least, most, text);
  return value;
}

class Environment {
 public:
  explicit Environment(const Variable& variable) : variable_(variable) {}

  /// Not set and empty are the same.
  std::optional<std::string> text(const std::string& name) const {
    auto value = variable_(name);
    return value && value->empty() ? std::nullopt : value;
  }
  bool has(const std::string& name) const { return text(name).has_value(); }

  int64_t needed(const std::string& name, int64_t least, int64_t most) const {
    const auto value = text(name);
    require(value.has_value(),
            "environment: expected {} beside the other variables of a start of several processes, got none; start with "
            "torchrun, srun, mpirun or --ranks, or set all of RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT",
            name);
    return number(*value, name, least, most);
  }
  int64_t number_or(const std::string& name, int64_t other, int64_t least, int64_t most) const {
    return has(name) ? needed(name, least, most) : other;
  }

 private:
  const Variable& variable_;
};

/// The names under which a starter gives the four numbers.
struct Names {
  std::string rank, ranks, local_rank, local_ranks;
};

RankPlace numbers(const Environment& environment, const Names& names) {
  RankPlace place;
  place.ranks = environment.needed(names.ranks, 1, kMostRanks);
  place.rank = environment.needed(names.rank, 0, kMostRanks);
  require(place.rank < place.ranks, "environment: expected {} below {}, got {} and {}", names.rank, names.ranks,
          place.rank, place.ranks);
  place.local_ranks = environment.number_or(names.local_ranks, 1, 1, kMostRanks);
  place.local_rank = environment.number_or(names.local_rank, 0, 0, kMostRanks);
  require(place.local_rank < place.local_ranks && place.local_ranks <= place.ranks,
          "environment: expected {} below {}, and that at most {}, got {}, {} and {}", names.local_rank,
          names.local_ranks, names.ranks, place.local_rank, place.local_ranks, place.ranks);
  return place;
}

/// MASTER_ADDR and MASTER_PORT, or what is given.
void set_master(RankPlace& place, const Environment& environment, const std::string& host, int64_t port,
                const std::string& starter) {
  place.host = environment.text("MASTER_ADDR").value_or(host);
  require(
      !place.host.empty(),
      "environment: expected MASTER_ADDR, the address of rank 0's machine, as {} starts {} processes of which {} run "
      "here, got none; set it (and MASTER_PORT) for all of them",
      starter, place.ranks, place.local_ranks);
  place.port = environment.number_or("MASTER_PORT", port, 1, 65535);
}

RankPlace of_torchrun(const Environment& environment) {
  RankPlace place = numbers(environment, {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"});
  if (place.ranks == 1) return place;
  set_master(place, environment, "", kDefaultPort, "whatever set RANK and WORLD_SIZE");
  if (!environment.has("LOCAL_RANK") && (place.host == "127.0.0.1" || place.host == "localhost")) {
    place.local_rank = place.rank;  // started by hand: all on this machine
    place.local_ranks = place.ranks;
  }
  place.store_is_hosted = environment.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  place.run = fmt::format("{}/{}", environment.text("TORCHELASTIC_RUN_ID").value_or("run"),
                          environment.text("TORCHELASTIC_RESTART_COUNT").value_or("0"));
  return place;
}

/// mpirun says no address: rank 0's is known where all run here.
RankPlace of_mpirun(const Environment& environment, const Names& names) {
  RankPlace place = numbers(environment, names);
  set_master(place, environment, place.local_ranks == place.ranks ? "127.0.0.1" : "", kDefaultPort, "mpirun");
  return place;
}

/// How many tasks a node has, of "4(x2),3".
int64_t tasks_of_node(const std::string& text, int64_t node) {
  constexpr const char* kName = "SLURM_STEP_TASKS_PER_NODE";
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.size(), text.find(',', begin));
    const std::string part = text.substr(begin, end - begin);
    const size_t times = part.find("(x");
    const int64_t tasks = number(part.substr(0, times), kName, 1, kMostRanks);
    const int64_t nodes = times == std::string::npos
                              ? 1
                              : number(part.substr(times + 2, part.find(')') - times - 2), kName, 1, kMostRanks);
    if (node < nodes) return tasks;
    node -= nodes;
    begin = end + 1;
  }
  fail("environment: expected {} to say the tasks of SLURM_NODEID, got '{}'", kName, text);
}

RankPlace of_srun(const Environment& environment) {
  RankPlace place = numbers(environment, {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "", ""});
  const int64_t node = environment.number_or("SLURM_NODEID", 0, 0, kMostRanks);
  if (const auto tasks = environment.text("SLURM_STEP_TASKS_PER_NODE")) place.local_ranks = tasks_of_node(*tasks, node);
  place.local_rank = environment.needed("SLURM_LOCALID", 0, kMostRanks);
  require(place.local_rank < place.local_ranks && place.local_ranks <= place.ranks,
          "environment: expected SLURM_LOCALID below the node's tasks, got {} of {}, and {} in all", place.local_rank,
          place.local_ranks, place.ranks);
  // A port that jobs, and steps of one, on the same machine do not share; below those given to clients.
  const int64_t job = environment.number_or("SLURM_JOB_ID", 0, 0, INT64_MAX / 64);
  const int64_t step = environment.number_or("SLURM_STEP_ID", 0, 0, INT64_MAX / 64);
  set_master(place, environment, first_host(environment.text("SLURM_STEP_NODELIST").value_or("")),
             20000 + (job * 17 + step) % 10000, "srun");
  return place;
}

}  // namespace

std::string first_host(const std::string& hosts) {
  std::string host;
  for (size_t i = 0; i < hosts.size() && hosts[i] != ','; ++i) {
    if (hosts[i] != '[') {
      host += hosts[i];
      continue;
    }
    const size_t end = hosts.find(']', i);
    require(end != std::string::npos, "environment: expected a list of hosts with its brackets closed, got '{}'",
            hosts);
    const std::string range = hosts.substr(i + 1, end - i - 1);
    host += range.substr(0, range.find_first_of("-,"));
    i = end;
  }
  return host;
}

std::optional<RankPlace> rank_place(const Variable& variable) {
  const Environment environment(variable);
  const auto of_group = [](const RankPlace& place) { return place.ranks > 1 ? std::optional(place) : std::nullopt; };
  if (environment.has("RANK") || environment.has("WORLD_SIZE")) return of_group(of_torchrun(environment));
  if (environment.has("OMPI_COMM_WORLD_SIZE")) {
    return of_group(of_mpirun(environment, {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                                            "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"}));
  }
  // srun sets PMI_RANK too; MPI_LOCALRANKID is mpirun's alone.
  if (environment.has("PMI_SIZE") && environment.has("MPI_LOCALRANKID")) {
    return of_group(of_mpirun(environment, {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"}));
  }
  if (environment.number_or("SLURM_STEP_NUM_TASKS", 1, 1, kMostRanks) > 1 && environment.has("SLURM_PROCID")) {
    return of_group(of_srun(environment));
  }
  return std::nullopt;
}

std::optional<RankPlace> rank_place() {
  return rank_place([](const std::string& name) {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  });
}

}  // namespace beit
