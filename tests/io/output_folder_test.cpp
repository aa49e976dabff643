#include "io/output_folder.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/io/files.h"
#include "tests/support.h"

using namespace beit;
namespace fs = std::filesystem;

TEST_CASE("output folder: one at a time holds it, and leaves it to the next") {
  const TemporaryFolder root;
  const fs::path folder = root.path / "a/b";
  {
    const OutputFolder first(folder);
    CHECK(fs::is_directory(folder));
    CHECK(first.path() == folder);
    CHECK_THROWS_WITH_AS(OutputFolder{folder}, doctest::Contains("another process is writing to"), Error);
    const OutputFolder other(root.path / "c");
  }
  const OutputFolder next(folder);
}

TEST_CASE("output folder: a place that cannot be a folder is an error with its reason") {
  const TemporaryFolder root;
  put_file(root.path / "file", "x");
  CHECK_THROWS_WITH_AS(OutputFolder{""}, doctest::Contains("set --output"), Error);
  CHECK_THROWS_WITH_AS(OutputFolder{root.path / "file"}, doctest::Contains("expected a folder"), Error);
  CHECK_THROWS_WITH_AS(OutputFolder{root.path / "file/inner"}, doctest::Contains("Not a directory"), Error);
}
