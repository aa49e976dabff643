#include "train/onnx_graph.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "base/error.h"
#include "tests/support.h"
#include "tests/train/onnx_model.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

/// Twice what comes in.
OnnxGraph doubling(const torch::Tensor& factor) {
  OnnxGraph graph;
  const auto x = graph.input({.name = "x", .shape = {OnnxGraph::kBatch, 3}, .help = "numbers"});
  graph.node("Mul", "y", {x, graph.constant("factor", factor)});
  graph.output({.name = "y", .shape = {OnnxGraph::kBatch, 3}, .help = "twice as much"});
  return graph;
}

TEST_CASE("onnx: a file states versions, shapes and what the values are, and computes what was built") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model.onnx";
  OnnxGraph graph = doubling(torch::tensor({2.0F, 9.0F, 2.0F, 9.0F, 2.0F, 9.0F}).slice(0, 0, 6, 2));  // strided
  graph.describe("grid", "1x3");
  CHECK(graph.signature() == "x [batch, 3] -> y [batch, 3]");
  graph.write(path);

  const OnnxModel model(path);
  CHECK(model.proto.ir_version() == 8);
  CHECK(model.proto.producer_name() == "beit");
  CHECK(!model.proto.producer_version().empty());
  REQUIRE(model.proto.opset_import_size() == 1);
  CHECK(model.proto.opset_import(0).domain().empty());
  CHECK(model.proto.opset_import(0).version() == 17);
  CHECK(model.metadata("grid") == "1x3");
  const auto& input = model.proto.graph().input(0);
  CHECK(input.doc_string() == "numbers");
  CHECK(input.type().tensor_type().shape().dim(0).dim_param() == "batch");
  CHECK(input.type().tensor_type().shape().dim(1).dim_value() == 3);
  const auto x = torch::randn({5, 3});
  CHECK(torch::equal(model.run(x).at("y"), x * 2));
}

TEST_CASE("onnx: an attribute of value 0 is written, not left out") {
  const TemporaryFolder folder;
  OnnxGraph graph;
  const auto x = graph.input({.name = "x", .shape = {OnnxGraph::kBatch, 3}});
  graph.node("Softmax", "y", {x}, {{"axis", 0}});
  graph.output({.name = "y", .shape = {OnnxGraph::kBatch, 3}});
  graph.write(folder.path / "model.onnx");
  const OnnxModel model(folder.path / "model.onnx");
  REQUIRE(model.proto.graph().node(0).attribute_size() == 1);
  CHECK(model.proto.graph().node(0).attribute(0).has_i());
  CHECK(model.proto.graph().node(0).attribute(0).type() == onnx::AttributeProto::INT);
}

TEST_CASE("onnx: names that are taken or missing, and other types, are refused") {
  OnnxGraph graph = doubling(torch::full({3}, 2.0F));
  CHECK_THROWS_WITH_AS(graph.node("Erf", "y", {"x"}), "onnx: expected a name for each value, got 'y' twice", Error);
  CHECK_THROWS_WITH_AS(graph.node("Erf", "z", {"w"}), "onnx: z: expected inputs that are there, got 'w'", Error);
  CHECK_THROWS_WITH_AS(graph.output({.name = "w"}), "onnx: expected an output that is there, got 'w'", Error);
  CHECK_THROWS_WITH_AS(graph.constant("c", torch::ones({1}, torch::kHalf)),
                       "onnx: c: expected float32 or int64, got Half", Error);
}

TEST_CASE("onnx: where the disk is full the error is the disk's, and nothing is left") {
  const TemporaryFolder folder;
  const OnnxGraph graph = doubling(torch::ones({1 << 20, 3}));
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const struct rlimit small { .rlim_cur = 100'000, .rlim_max = before.rlim_max };
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &small);
  CHECK_THROWS_AS(graph.write(folder.path / "model.onnx"), Error);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(fs::is_empty(folder.path));
}

}  // namespace
}  // namespace beit
