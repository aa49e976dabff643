#include "io/checkpoint.h"

#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include "base/error.h"
#include "tests/io/files.h"
#include "tests/support.h"

using namespace beit;
namespace fs = std::filesystem;

namespace {

Checkpoint at_step(int64_t step) {
  return {.step = step, .tensors = {{"x", torch::full({3}, static_cast<float>(step))}}};
}

std::set<std::string> files(const fs::path& run_folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(run_folder / "checkpoints")) names.insert(entry.path().filename());
  return names;
}

using Files = std::set<std::string>;

}  // namespace

using Paths = std::vector<fs::path>;

TEST_CASE("checkpoint: a state comes back as it was written") {
  const TemporaryFolder folder;
  const Checkpoint state{.step = 12,
                         .tensors = {{"model.x", torch::arange(3)}, {"optimizer.m", torch::zeros({0})}},
                         .metadata = {{"config", "a = 1"}, {"epoch", "2"}}};
  write_checkpoint(folder.path / "run", state, {1});
  const auto paths = checkpoints(folder.path / "run");
  REQUIRE(paths.size() == 1);
  CHECK(paths[0] == folder.path / "run" / "checkpoints" / "step-00000012.safetensors");
  const auto found = read_checkpoint(paths[0]);
  CHECK(found.path == paths[0]);
  CHECK(found.step == 12);
  CHECK(found.metadata == state.metadata);
  REQUIRE(found.tensors.size() == 2);
  CHECK(torch::equal(found.tensors.at("model.x"), torch::arange(3)));
}

TEST_CASE("checkpoint: the newest is that of the highest step, whatever else lies there") {
  const TemporaryFolder folder;
  CHECK(checkpoints(folder.path).empty());
  write_checkpoint(folder.path, at_step(0), {9});
  const auto inner = folder.path / "checkpoints";
  CHECK(checkpoints(folder.path) == Paths{inner / "step-00000000.safetensors"});
  write_checkpoint(folder.path, at_step(100'000'000), {9});  // one digit more than the others
  write_checkpoint(folder.path, at_step(99'999'999), {9});
  for (const char* name :
       {"step-.safetensors", "step-x.safetensors", "step-999999999x.safetensors", "step-999999999.pth",
        "step--1.safetensors", "step-99999999999999999999.safetensors", ".step-999999999.safetensors.7-0.tmp",
        "step-999999999.safetensors.tmp", "step-safetensors", "model.safetensors"}) {
    put_file(inner / name, "x");
  }
  fs::create_directory(inner / "step-999999999.safetensors");
  CHECK(checkpoints(folder.path) == Paths{inner / "step-100000000.safetensors", inner / "step-99999999.safetensors",
                                          inner / "step-00000000.safetensors"});
}

TEST_CASE("checkpoint: only the last few are kept") {
  const TemporaryFolder folder;
  for (const int64_t step : {10, 20, 30, 40}) write_checkpoint(folder.path, at_step(step), {2});
  CHECK(files(folder.path) == Files{"step-00000030.safetensors", "step-00000040.safetensors"});
  write_checkpoint(folder.path, at_step(50), {1});
  CHECK(files(folder.path) == Files{"step-00000050.safetensors"});
}

TEST_CASE("checkpoint: writing one again replaces it") {
  const TemporaryFolder folder;
  write_checkpoint(folder.path, at_step(1), {2});
  auto changed = at_step(1);
  changed.tensors["x"] = torch::ones(5);
  write_checkpoint(folder.path, changed, {2});
  CHECK(files(folder.path) == Files{"step-00000001.safetensors"});
  CHECK(read_checkpoint(checkpoints(folder.path).front()).tensors.at("x").size(0) == 5);
}

TEST_CASE("checkpoint: those of later steps stay until they are removed on purpose") {
  const TemporaryFolder folder;
  for (const int64_t step : {10, 20, 30}) write_checkpoint(folder.path, at_step(step), {9});
  write_checkpoint(folder.path, at_step(15), {1});
  CHECK(files(folder.path) ==
        Files{"step-00000015.safetensors", "step-00000020.safetensors", "step-00000030.safetensors"});
  remove_checkpoints_after(folder.path, 20);
  CHECK(files(folder.path) == Files{"step-00000015.safetensors", "step-00000020.safetensors"});
  CHECK_NOTHROW(remove_checkpoints_after(folder.path / "none", 0));
}

TEST_CASE("checkpoint: what killed processes left is never taken for one, and removed by the next write") {
  const TemporaryFolder folder;
  write_checkpoint(folder.path, at_step(1), {2});
  const auto checkpoints = folder.path / "checkpoints";
  fs::copy_file(checkpoints / "step-00000001.safetensors", checkpoints / ".step-00000002.safetensors.77-0.tmp");
  put_file(checkpoints / "notes.tmp", "mine");
  CHECK(beit::checkpoints(folder.path) == Paths{checkpoints / "step-00000001.safetensors"});
  write_checkpoint(folder.path, at_step(3), {2});
  CHECK(files(folder.path) == Files{"notes.tmp", "step-00000001.safetensors", "step-00000003.safetensors"});
}

TEST_CASE("checkpoint: a damaged newest one is an error that names it, not a silent step back") {
  const TemporaryFolder folder;
  for (const int64_t step : {1, 2}) write_checkpoint(folder.path, at_step(step), {2});
  const auto path = folder.path / "checkpoints" / "step-00000002.safetensors";
  fs::resize_file(path, fs::file_size(path) - 1);
  CHECK(checkpoints(folder.path).front() == path);
  CHECK_THROWS_WITH_AS(read_checkpoint(path), doctest::Contains(path.c_str()), Error);
}

TEST_CASE("checkpoint: one bit of a tensor that changed is an error") {
  const TemporaryFolder folder;
  write_checkpoint(folder.path, at_step(1), {1});
  const auto path = checkpoints(folder.path).front();
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const char last = static_cast<char>(file.get() ^ 1);
  file.seekp(-1, std::ios::end);
  file.put(last);
  file.close();
  CHECK_THROWS_WITH_AS(read_checkpoint(path), doctest::Contains("it is damaged"), Error);
}

TEST_CASE("checkpoint: a file that is none is an error that names it") {
  const TemporaryFolder folder;
  const auto path = folder.path / "a";
  for (const char* step : {"", "x", "-1", "1.5", "99999999999999999999"}) {
    write_safetensors(path, {}, {{"step", step}});
    CHECK_THROWS_WITH_AS(read_checkpoint(path), doctest::Contains("a: expected a checkpoint, got a safetensors file"),
                         Error);
  }
  write_safetensors(path, {});
  CHECK_THROWS_WITH_AS(read_checkpoint(path), doctest::Contains("without its step"), Error);
  put_file(path, "x");
  CHECK_THROWS_WITH_AS(read_checkpoint(path), doctest::Contains(path.c_str()), Error);
  CHECK_THROWS_WITH_AS(read_checkpoint(folder.path / "none"), doctest::Contains("none: expected a readable file"),
                       Error);
}

TEST_CASE("checkpoint: one that cannot be written removes none") {
  const TemporaryFolder folder;
  write_checkpoint(folder.path, at_step(1), {1});
  auto bad = at_step(2);
  bad.tensors["y"] = torch::Tensor();
  CHECK_THROWS_AS(write_checkpoint(folder.path, bad, {1}), Error);
  CHECK(files(folder.path) == Files{"step-00000001.safetensors"});
  CHECK_THROWS_WITH_AS(write_checkpoint(folder.path, at_step(-1), {1}),
                       doctest::Contains("expected a step of at least 0"), Error);
  CHECK_THROWS_WITH_AS(write_checkpoint(folder.path, at_step(1), {0}), doctest::Contains("keep at least one"), Error);
  put_file(folder.path / "file", "x");
  CHECK_THROWS_WITH_AS(write_checkpoint(folder.path / "file", at_step(1), {1}),
                       doctest::Contains("choose another --output"), Error);
}
