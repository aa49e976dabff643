#include "train/rank_place.h"

#include <doctest/doctest.h>

#include <map>

#include "base/error.h"

namespace beit {
namespace {

using Variables = std::map<std::string, std::string>;

std::optional<RankPlace> place_in(const Variables& variables) {
  return rank_place([&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

std::string error_of(const Variables& variables) {
  try {
    place_in(variables);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

Variables with(Variables base, const Variables& more) {
  for (const auto& [name, value] : more) base[name] = value;
  return base;
}

const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "10.0.0.7"},
                             {"MASTER_PORT", "4321"},
                             {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                             {"TORCHELASTIC_RESTART_COUNT", "2"},
                             {"TORCHELASTIC_RUN_ID", "job"}};

const Variables kSrun = {{"SLURM_STEP_NUM_TASKS", "11"},
                         {"SLURM_PROCID", "9"},
                         {"SLURM_LOCALID", "1"},
                         {"SLURM_NODEID", "2"},
                         {"SLURM_STEP_TASKS_PER_NODE", "4(x2),3"},
                         {"SLURM_STEP_NODELIST", "node[01-02,07]"},
                         {"SLURM_JOB_ID", "123456"},
                         {"SLURM_STEP_ID", "0"}};

const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                            {"OMPI_COMM_WORLD_SIZE", "4"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};

TEST_CASE("rank_place: nothing where the process is alone") {
  CHECK(!place_in({}));
  CHECK(!place_in({{"RANK", "0"}, {"WORLD_SIZE", "1"}}));
  CHECK(!place_in({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}}));
  CHECK(!place_in(with(kSrun, {{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_PROCID", "0"}})));
  CHECK(!place_in({{"SLURM_JOB_ID", "5"}, {"SLURM_NTASKS", "4"}}));  // in the job, but in no step
}

TEST_CASE("rank_place: torchrun's variables, its store and its restarts") {
  const auto place = place_in(kTorchrun);
  REQUIRE(place);
  CHECK(place->rank == 5);
  CHECK(place->ranks == 8);
  CHECK(place->local_rank == 1);
  CHECK(place->local_ranks == 4);
  CHECK(place->host == "10.0.0.7");
  CHECK(place->port == 4321);
  CHECK(place->store_is_hosted);
  CHECK(place->run == "job/2");
  CHECK(!place_in(with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "False"}}))->store_is_hosted);
  CHECK(place_in(with(kTorchrun, {{"TORCHELASTIC_RESTART_COUNT", "3"}}))->run != place->run);
  CHECK(place_in(with(kTorchrun, {{"MASTER_PORT", ""}}))->port == 29500);
}

TEST_CASE("rank_place: ranks started by hand on one machine share it") {
  const auto place = place_in({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}});
  REQUIRE(place);
  CHECK(place->local_rank == 1);
  CHECK(place->local_ranks == 2);
}

TEST_CASE("rank_place: torchrun's variables come before srun's, mpirun's before srun's") {
  CHECK(place_in(with(kSrun, kTorchrun))->rank == 5);
  CHECK(place_in(with(kSrun, kOpenMpi))->rank == 1);
}

TEST_CASE("rank_place: a step of srun") {
  const auto place = place_in(kSrun);
  REQUIRE(place);
  CHECK(place->rank == 9);
  CHECK(place->ranks == 11);
  CHECK(place->local_rank == 1);
  CHECK(place->local_ranks == 3);
  CHECK(place->host == "node01");
  CHECK(!place->store_is_hosted);
  CHECK(place->port >= 20000);
  CHECK(place->port < 30000);
  CHECK(place_in(with(kSrun, {{"SLURM_STEP_ID", "1"}}))->port != place->port);
  CHECK(place_in(with(kSrun, {{"SLURM_JOB_ID", "123457"}}))->port != place->port);
  const auto named = place_in(with(kSrun, {{"MASTER_ADDR", "10.1.1.1"}, {"MASTER_PORT", "77"}}));
  CHECK(named->host == "10.1.1.1");
  CHECK(named->port == 77);
}

TEST_CASE("rank_place: the first host of srun's lists") {
  CHECK(first_host("login1") == "login1");
  CHECK(first_host("login1,node[3-4]") == "login1");
  CHECK(first_host("node[01-04,07],login1") == "node01");
  CHECK(first_host("node[7,09-12]") == "node7");
  CHECK(first_host("rack[2-3]node[010-020].cluster") == "rack2node010.cluster");
  CHECK(first_host("").empty());
  CHECK_THROWS_AS(first_host("node[01-04"), Error);
}

TEST_CASE("rank_place: mpirun on one machine, and on several only with an address") {
  const auto place = place_in(kOpenMpi);
  REQUIRE(place);
  CHECK(place->rank == 1);
  CHECK(place->host == "127.0.0.1");
  const Variables several = with(kOpenMpi, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  CHECK(error_of(several).find("MASTER_ADDR") != std::string::npos);
  CHECK(place_in(with(several, {{"MASTER_ADDR", "node1"}}))->host == "node1");

  const auto intel =
      place_in({{"PMI_RANK", "2"}, {"PMI_SIZE", "3"}, {"MPI_LOCALRANKID", "2"}, {"MPI_LOCALNRANKS", "3"}});
  REQUIRE(intel);
  CHECK(intel->rank == 2);
  CHECK(intel->local_ranks == 3);
}

TEST_CASE("rank_place: numbers that are none or contradict one another are errors that name the variable") {
  const auto says = [](const Variables& variables, const std::string& text) {
    const std::string message = error_of(variables);
    CHECK_MESSAGE(message.find(text) != std::string::npos, message);
  };
  says(with(kTorchrun, {{"RANK", "8"}}), "RANK below WORLD_SIZE, got 8 and 8");
  says(with(kTorchrun, {{"RANK", "-1"}}), "RANK");
  says(with(kTorchrun, {{"RANK", "one"}}), "got 'one'");
  says(with(kTorchrun, {{"WORLD_SIZE", "8 "}}), "WORLD_SIZE");
  says(with(kTorchrun, {{"LOCAL_RANK", "4"}}), "LOCAL_RANK below LOCAL_WORLD_SIZE");
  says(with(kTorchrun, {{"LOCAL_WORLD_SIZE", "9"}}), "at most WORLD_SIZE");
  says(with(kTorchrun, {{"MASTER_PORT", "70000"}}), "MASTER_PORT");
  says(with(kTorchrun, {{"MASTER_ADDR", ""}}), "MASTER_ADDR");
  says({{"RANK", "1"}}, "WORLD_SIZE");
  says({{"WORLD_SIZE", "2"}}, "RANK");
  says(with(kSrun, {{"SLURM_STEP_TASKS_PER_NODE", "4"}}), "SLURM_STEP_TASKS_PER_NODE");
  says(with(kSrun, {{"SLURM_LOCALID", "3"}}), "SLURM_LOCALID");
  says(with(kSrun, {{"SLURM_STEP_NODELIST", ""}}), "MASTER_ADDR");
}

}  // namespace
}  // namespace beit
