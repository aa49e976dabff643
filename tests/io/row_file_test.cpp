#include "io/row_file.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "io/safetensors.h"
#include "tests/support.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

TEST_CASE("row file: rows come back as they were added, and the folder stays empty") {
  const TemporaryFolder folder;
  torch::Tensor rows;
  {
    RowFile file(folder.path);
    file.append(torch::arange(6.0F).view({2, 3}));
    file.append(torch::arange(6.0F, 9.0F).view({3, 1}).t());
    CHECK(fs::is_empty(folder.path));
    rows = RowFile(std::move(file)).tensor();
  }
  CHECK(torch::equal(rows, torch::arange(9.0F).view({3, 3})));  // also after the file's end
  write_safetensors(folder.path / "rows.safetensors", {{"rows", rows}});
  CHECK(torch::equal(read_safetensors(folder.path / "rows.safetensors").tensors.at("rows"), rows));
}

TEST_CASE("row file: rows of another kind, none, and a folder that is missing are refused") {
  const TemporaryFolder folder;
  RowFile file(folder.path);
  CHECK_THROWS_WITH_AS(file.tensor(), doctest::Contains("at least one row"), Error);
  file.append(torch::zeros({2, 3}));
  CHECK_THROWS_WITH_AS(file.append(torch::zeros({2, 4})), doctest::Contains("rows like the first"), Error);
  CHECK_THROWS_AS(file.append(torch::zeros({2, 3}, torch::kFloat16)), Error);
  CHECK(file.tensor().size(0) == 2);
  CHECK_THROWS_WITH_AS(RowFile(folder.path / "none"), doctest::Contains("expected a folder"), Error);
}

}  // namespace
}  // namespace beit
