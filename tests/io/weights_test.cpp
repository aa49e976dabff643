#include "io/weights.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tests/io/files.h"
#include "tests/support.h"

using namespace beit;

namespace {

using Names = std::vector<std::string>;

/// An inner module, a parameter, a buffer, and a buffer that follows from the grid.
struct Small : torch::nn::Module {
  Small() {
    torch::manual_seed(1);
    linear = register_module("linear", torch::nn::Linear(3, 2));
    scale = register_parameter("scale", torch::full({2}, 0.5F));
    count = register_buffer("count", torch::zeros({4}, torch::kInt64));
    index = register_buffer("relative_position_index", torch::arange(9));
  }
  torch::nn::Linear linear = nullptr;
  torch::Tensor scale, count, index;
};

/// Tensors that fit all of it but for the derived buffer.
TensorMap fitting() {
  return {{"linear.weight", torch::ones({2, 3})},
          {"linear.bias", torch::tensor({1.F, 2.F})},
          {"scale", torch::tensor({3.F, 4.F})},
          {"count", torch::tensor({5, 6, 7, 8})}};
}

TensorMap copies(const TensorMap& tensors) {
  TensorMap result;
  for (const auto& [name, tensor] : tensors) result.emplace(name, tensor.clone());
  return result;
}

bool equal(const TensorMap& a, const TensorMap& b) {
  return std::ranges::equal(
      a, b, [](const auto& x, const auto& y) { return x.first == y.first && torch::equal(x.second, y.second); });
}

}  // namespace

TEST_CASE("weights: a file's form is told by its content, not by its name") {
  const TemporaryFolder folder;
  const auto path = folder.path / "weights.pth";
  write_safetensors(path, {{"x", torch::arange(3)}}, {{"k", "v"}});
  const auto found = read_weights(path);
  CHECK(torch::equal(found.tensors.at("x"), torch::arange(3)));
  CHECK(found.metadata.at("k") == "v");

  std::filesystem::copy_file(golden("legacy.pth"), folder.path / "weights.safetensors");
  CHECK(read_weights(folder.path / "weights.safetensors").tensors.contains("model.base"));

  put_file(path, "PK\x03\x04 and so on");
  CHECK_THROWS_WITH_AS(read_weights(path), doctest::Contains("archive: expected its directory"), Error);
}

TEST_CASE("weights: a run folder stands for its model") {
  const TemporaryFolder folder;
  const auto refusal = folder.path.string() + ": expected a run folder with model.safetensors";
  CHECK_THROWS_WITH_AS(read_weights(folder.path), doctest::Contains(refusal.c_str()), Error);
  write_safetensors(folder.path / "model.safetensors", {{"x", torch::arange(3)}});
  CHECK(read_weights(folder.path).tensors.contains("x"));
  CHECK(read_weights(folder.path / "").tensors.contains("x"));
}

TEST_CASE("weights: a published folder stands for its weights, safetensors before pickles, one file before many") {
  const TemporaryFolder folder;
  const auto tensors = [&] { return read_weights(folder.path).tensors; };
  std::filesystem::copy_file(golden("objects.pth"), folder.path / "pytorch_model.bin");
  CHECK(tensors().contains("model.weight"));
  write_safetensors(folder.path / "a.safetensors", {{"x", torch::arange(3)}});
  put_file(folder.path / "model.safetensors.index.json", R"({"weight_map": {"x": "a.safetensors"}})");
  CHECK(tensors().contains("x"));
  write_safetensors(folder.path / "model.safetensors", {{"y", torch::arange(3)}});
  CHECK(tensors().contains("y"));
  CHECK(!read_weights(folder.path).metadata.contains("config.json"));
  put_file(folder.path / "config.json", "{}");
  CHECK(read_weights(folder.path).metadata.at("config.json") == "{}");
}

TEST_CASE("weights: what is no weights file is an error that names it") {
  const TemporaryFolder folder;
  const auto path = folder.path / "picture.jpg";
  const auto named = [&](const std::string& rest) { return path.string() + ": " + rest; };
  CHECK_THROWS_WITH_AS(read_weights(path), doctest::Contains(named("expected a readable file").c_str()), Error);
  for (const char* bytes : {"", "\xff\xd8\xff\xe0 a picture", "text", "12345678["}) {
    put_file(path, bytes);
    CHECK_THROWS_WITH_AS(read_weights(path), doctest::Contains(named("expected safetensors or PyTorch's").c_str()),
                         Error);
  }
  put_file(path, raw(uint64_t{100}) + "{}");
  CHECK_THROWS_WITH_AS(read_weights(path), doctest::Contains(named("expected a header within").c_str()), Error);
  CHECK_THROWS_WITH_AS(read_weights(folder.path / std::string(300, 'n')), doctest::Contains("File name too long"),
                       Error);
}

TEST_CASE("weights: the tensors under a prefix lose it") {
  const auto one = torch::ones(1);
  const auto found =
      tensors_under({{"encoder.a", one}, {"encoder.b.c", one}, {"encode", one}, {"decoder.a", one}}, "encoder.");
  CHECK(found.size() == 2);
  CHECK(found.contains("a"));
  CHECK(found.contains("b.c"));
}

TEST_CASE("weights: a module's state is its parameters and buffers, and shares their memory") {
  Small module;
  const auto tensors = state_dict(module);
  CHECK(tensors.size() == 5);
  for (const auto& [name, tensor] : tensors) CHECK_MESSAGE(!tensor.requires_grad(), name);
  tensors.at("scale").fill_(9);
  CHECK(module.scale.eq(9).all().item<bool>());
}

TEST_CASE("weights: what fits is copied, in the module's dtype and with its gradients on") {
  Small module;
  auto tensors = fitting();
  tensors["scale"] = tensors["scale"].to(torch::kFloat64);
  tensors["count"] = tensors["count"].to(torch::kInt32);
  CHECK(load_state_dict(module, tensors).complete());
  CHECK(equal(state_dict(module), [] {
    auto expected = fitting();
    expected["relative_position_index"] = torch::arange(9);
    return expected;
  }()));
  CHECK((module.scale.scalar_type() == torch::kFloat32));
  CHECK(module.linear->weight.requires_grad());
  CHECK(module.linear->weight.is_leaf());
}

TEST_CASE("weights: position indices of a file are ignored, whatever their size, and none is missed") {
  Small module;
  auto tensors = fitting();
  tensors["relative_position_index"] = torch::zeros({4, 4}, torch::kInt64);
  tensors["blocks.0.attn.relative_position_index"] = torch::zeros({9}, torch::kInt64);
  CHECK(load_state_dict(module, tensors).complete());
  CHECK_NOTHROW(load_state_dict_strict(module, tensors, "file"));
  tensors["relative_position_index"] = torch::zeros({9}, torch::kInt64);
  CHECK(load_state_dict(module, tensors).complete());
  CHECK(torch::equal(module.index, torch::arange(9)));
}

TEST_CASE("weights: what does not fit is reported by name and left as it was") {
  Small module;
  const auto before = copies(state_dict(module));
  auto tensors = fitting();
  tensors.erase("count");
  tensors["scale"] = torch::ones({2, 1});
  tensors["head.weight"] = torch::ones(3);
  const auto report = load_state_dict(module, tensors);
  CHECK(report.missing == Names{"count"});
  CHECK(report.unexpected == Names{"head.weight"});
  CHECK(report.wrong_shape == Names{"scale: expected [2], got [2, 1]"});
  CHECK_FALSE(report.complete());
  CHECK(torch::equal(module.scale, before.at("scale")));
  CHECK(torch::equal(module.count, before.at("count")));
  CHECK(torch::equal(module.linear->bias, tensors.at("linear.bias")));
}

TEST_CASE("weights: whole numbers for floating ones, and the reverse, do not fit") {
  Small module;
  const auto before = copies(state_dict(module));
  auto tensors = fitting();
  tensors["scale"] = torch::ones(2, torch::kInt64);
  tensors["count"] = torch::ones(4);
  tensors["linear.bias"] = torch::ones(2, torch::kComplexFloat);
  const auto report = load_state_dict(module, tensors);
  CHECK(report.wrong_dtype == Names{"count: expected Long, got Float", "linear.bias: expected Float, got ComplexFloat",
                                    "scale: expected Float, got Long"});
  CHECK_FALSE(report.complete());
  for (const char* name : {"scale", "count", "linear.bias"}) {
    CHECK(torch::equal(state_dict(module).at(name), before.at(name)));
  }
  CHECK_THROWS_WITH_AS(load_state_dict_strict(module, tensors, "f"),
                       doctest::Contains("got 3 of another dtype (count: expected Long, got Float, "), Error);
}

TEST_CASE("weights: infinities and NaN are copied and reported, whatever the dtype and wherever they are") {
  struct Wide : torch::nn::Module {
    Wide() { weight = register_parameter("weight", torch::zeros({3, 70'000})); }
    torch::Tensor weight;
  } module;
  for (const auto type : {torch::kFloat32, torch::kFloat64, torch::kFloat16, torch::kBFloat16, torch::kFloat8_e5m2}) {
    CAPTURE(torch::toString(type));
    for (const double value : {-1.0, 57'344.0, double{INFINITY}, -double{INFINITY}, double{NAN}}) {
      CAPTURE(value);
      const auto source = torch::full({3, 70'000}, 57'344.0);  // the largest number of the narrowest type
      source.view(-1)[150'000] = value;
      for (const auto& given : {source.to(type), source.to(type).t().contiguous().t()}) {
        const auto report = load_state_dict(module, {{"weight", given}});
        CHECK(report.non_finite == (std::isfinite(value) ? Names{} : Names{"weight"}));
        CHECK(report.complete());
        CHECK(load_state_dict_strict(module, {{"weight", given}}, "f").non_finite == report.non_finite);
        CHECK(torch::allclose(module.weight, given.to(torch::kFloat32), 0, 0, /*equal_nan=*/true));
      }
    }
  }
}

TEST_CASE("weights: the strict form says what does not fit and leaves the module untouched") {
  Small module;
  const auto before = copies(state_dict(module));
  auto tensors = fitting();
  tensors.erase("linear.bias");
  tensors["scale"] = torch::ones(3);
  for (const char* name : {"e", "d", "c", "b", "a"}) tensors[name] = torch::ones(1);
  CHECK_THROWS_WITH_AS(load_state_dict_strict(module, tensors, "run/model.safetensors"),
                       "run/model.safetensors: expected the 5 tensors of this model, got 1 missing (linear.bias), 5 "
                       "unexpected (a, b, c, ...), 1 of another shape (scale: expected [2], got [3]); use the file of "
                       "the same model and sizes, `beit inspect` lists all that does not fit",
                       Error);
  CHECK(equal(state_dict(module), before));
  for (const char* fault : {"missing", "unexpected", "of another shape"}) {
    auto one_fault = fitting();
    if (fault == std::string("missing")) one_fault.erase("count");
    if (fault == std::string("unexpected")) one_fault["more"] = torch::ones(1);
    if (fault == std::string("of another shape")) one_fault["count"] = torch::ones({5}, torch::kInt64);
    CHECK_THROWS_WITH_AS(load_state_dict_strict(module, one_fault, "f"), doctest::Contains(fault), Error);
    CHECK(equal(state_dict(module), before));
  }
  CHECK_NOTHROW(load_state_dict_strict(module, fitting(), "f"));
  CHECK(torch::equal(module.count, fitting().at("count")));
}

TEST_CASE("weights: a module comes back from a file bit by bit") {
  const TemporaryFolder folder;
  Small module, other;
  const torch::NoGradGuard no_grad;
  for (auto& parameter : other.parameters()) parameter.zero_();
  write_safetensors(folder.path / "model.safetensors", state_dict(module));
  load_state_dict_strict(other, read_weights(folder.path).tensors, "f");
  CHECK(equal(state_dict(module), state_dict(other)));
}
