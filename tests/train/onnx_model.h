// An ONNX file, run by LibTorch's operators: of ONNX's those that train/onnx_export.h writes, by the words of ONNX's
// specification and not by those of our networks.
#pragma once

#include <doctest/doctest.h>
#include <torch/torch.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "train/onnx.pb.h"

namespace beit {

class OnnxModel {
 public:
  explicit OnnxModel(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    REQUIRE(proto.ParseFromString(bytes));
  }

  /// Outputs by name.
  std::map<std::string, torch::Tensor> run(const torch::Tensor& images_BCHW) const {
    std::map<std::string, torch::Tensor> values;
    for (const auto& constant : proto.graph().initializer()) values[constant.name()] = tensor(constant);
    REQUIRE(proto.graph().input_size() == 1);
    values[proto.graph().input(0).name()] = images_BCHW;
    for (const auto& node : proto.graph().node()) {
      std::vector<torch::Tensor> inputs;
      for (const auto& name : node.input()) inputs.push_back(values.at(name));
      REQUIRE(node.output_size() == 1);
      values[node.output(0)] = apply(node, inputs);
    }
    std::map<std::string, torch::Tensor> outputs;
    for (const auto& output : proto.graph().output()) {
      const auto& value = outputs[output.name()] = values.at(output.name());
      CHECK(fits(output.type().tensor_type(), value, images_BCHW.size(0)));
    }
    return outputs;
  }

  std::string metadata(const std::string& key) const {
    for (const auto& entry : proto.metadata_props()) {
      if (entry.key() == key) return entry.value();
    }
    return "";
  }

  onnx::ModelProto proto;

 private:
  static torch::ScalarType type_of(int32_t data_type) {
    return data_type == onnx::TensorProto::INT64 ? torch::kInt64 : torch::kFloat32;
  }

  static torch::Tensor tensor(const onnx::TensorProto& constant) {
    const std::vector<int64_t> sizes(constant.dims().begin(), constant.dims().end());
    auto values = torch::empty(sizes, type_of(constant.data_type()));
    REQUIRE(values.nbytes() == constant.raw_data().size());
    std::memcpy(values.mutable_data_ptr(), constant.raw_data().data(), values.nbytes());
    return values;
  }

  static bool fits(const onnx::TypeProto::Tensor& type, const torch::Tensor& value, int64_t images) {
    if (type_of(type.elem_type()) != value.scalar_type() || type.shape().dim_size() != value.dim()) return false;
    for (int i = 0; i < type.shape().dim_size(); ++i) {
      const auto& dimension = type.shape().dim(i);
      if (value.size(i) != (dimension.has_dim_param() ? images : dimension.dim_value())) return false;
    }
    return true;
  }

  static const onnx::AttributeProto& attribute(const onnx::NodeProto& node, const std::string& name) {
    for (const auto& entry : node.attribute()) {
      if (entry.name() == name) return entry;
    }
    throw std::runtime_error(node.name() + " has no " + name);
  }
  static int64_t number(const onnx::NodeProto& node, const std::string& name) { return attribute(node, name).i(); }
  static std::vector<int64_t> numbers(const onnx::NodeProto& node, const std::string& name) {
    const auto& ints = attribute(node, name).ints();
    return {ints.begin(), ints.end()};
  }
  static std::vector<int64_t> numbers(const torch::Tensor& values) {
    const auto* first = values.const_data_ptr<int64_t>();
    return {first, first + values.numel()};
  }

  static torch::Tensor apply(const onnx::NodeProto& node, const std::vector<torch::Tensor>& in) {
    const std::string& op = node.op_type();
    if (op == "Add") return in[0] + in[1];
    if (op == "Sub") return in[0] - in[1];
    if (op == "Mul") return in[0] * in[1];
    if (op == "Div") return in[0] / in[1];
    if (op == "Max") return torch::maximum(in[0], in[1]);
    if (op == "Erf") return torch::erf(in[0]);
    if (op == "Tanh") return torch::tanh(in[0]);
    if (op == "Identity") return in[0];
    if (op == "MatMul") return torch::matmul(in[0], in[1]);
    if (op == "Softmax") return torch::softmax(in[0], number(node, "axis"));
    if (op == "Concat") return torch::cat(in, number(node, "axis"));
    if (op == "Transpose") return in[0].permute(numbers(node, "perm"));
    if (op == "Conv") {
      const auto strides = numbers(node, "strides"), kernel = numbers(node, "kernel_shape");
      REQUIRE(in[1].sizes().slice(2) == torch::IntArrayRef(kernel));
      return torch::conv2d(in[0], in[1], in[2], strides);
    }
    if (op == "Reshape") {
      auto shape = numbers(in[1]);
      for (size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] == 0) shape[i] = in[0].size(static_cast<int64_t>(i));
      }
      return in[0].reshape(shape);
    }
    if (op == "Pad") {  // all beginnings, then all ends; LibTorch wants pairs, the last dimension first
      const auto given = numbers(in[1]);
      const size_t dimensions = given.size() / 2;
      std::vector<int64_t> pads;
      for (size_t i = dimensions; i-- > 0;) pads.insert(pads.end(), {given[i], given[i + dimensions]});
      return torch::constant_pad_nd(in[0], pads);
    }
    if (op == "Slice") return in[0].slice(numbers(in[3])[0], numbers(in[1])[0], numbers(in[2])[0]);
    if (op == "Gather") {
      const int64_t axis = number(node, "axis");
      auto shape = in[0].sizes().vec();
      const auto place = shape.erase(shape.begin() + axis);
      shape.insert(place, in[1].sizes().begin(), in[1].sizes().end());
      return in[0].index_select(axis, in[1].flatten()).reshape(shape);
    }
    if (op == "ReduceMean") {
      const auto axes = numbers(node, "axes");
      return in[0].mean(torch::IntArrayRef(axes), number(node, "keepdims") != 0);
    }
    if (op == "ReduceL2") {
      const auto axes = numbers(node, "axes");
      return in[0].square().sum(torch::IntArrayRef(axes), number(node, "keepdims") != 0).sqrt();
    }
    if (op == "LayerNormalization") {
      REQUIRE(number(node, "axis") == -1);
      return torch::layer_norm(in[0], {in[0].size(-1)}, in[1], in[2], attribute(node, "epsilon").f());
    }
    if (op == "ArgMax") {
      REQUIRE(number(node, "select_last_index") == 0);
      return in[0].argmax(number(node, "axis"), number(node, "keepdims") != 0);
    }
    throw std::runtime_error("no operator " + op);
  }
};

}  // namespace beit
