// ONNX: a network as a graph of operators, which programs without LibTorch run (docs/FORMATS.md, ONNX).
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace beit {

namespace onnx {
class ModelProto;
}

struct OnnxAttribute {
  std::string name;
  std::variant<int64_t, float, std::vector<int64_t>> value;
};

/// What goes into a graph, or comes out of it.
struct OnnxValue {
  std::string name;
  torch::ScalarType type = torch::kFloat32;  ///< or kInt64
  std::vector<int64_t> shape = {};           ///< OnnxGraph::kBatch where it is the number of images
  std::string help = {};                     ///< what it is, for people
};

/// One graph of operators of ONNX's own set 17 (IR version 8). A value is known by its name: each constant, input and
/// node has one of its own, a node's being that of its one output, and nodes take what is there already. Error (a
/// mistake of the caller) for a name that is taken, or one that nothing has. Not thread-safe.
class OnnxGraph {
 public:
  static constexpr int64_t kBatch = -1;  ///< a size that is given when the graph runs

  OnnxGraph();
  ~OnnxGraph();
  OnnxGraph(OnnxGraph&&) noexcept;
  OnnxGraph& operator=(OnnxGraph&&) noexcept;

  bool has(const std::string& name) const { return names_.contains(name); }

  // These return the name.
  std::string input(const OnnxValue& value);
  /// A copy of a float32 or int64 tensor of any device and strides; Error for another type.
  std::string constant(const std::string& name, const torch::Tensor& values);
  std::string node(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
                   const std::vector<OnnxAttribute>& attributes = {});

  /// Gives out what is there under that name.
  void output(const OnnxValue& value);

  /// An entry of the file's metadata.
  void describe(const std::string& key, const std::string& text);

  /// "images [batch, 3, 224, 224] -> codes [batch, 196]"
  std::string signature() const;

  /// Writes atomically (io/atomic_file.h). Error where the graph has 2 GiB or more, which such a file cannot hold.
  void write(const std::filesystem::path& path) const;

 private:
  void add_name(const std::string& name);

  std::unique_ptr<onnx::ModelProto> model_;
  std::set<std::string> names_;
};

}  // namespace beit
