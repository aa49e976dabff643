#include "train/onnx_graph.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <exception>
#include <limits>

#include "base/error.h"
#include "base/version.h"
#include "io/atomic_file.h"
#include "train/onnx.pb.h"

namespace beit {
namespace {

constexpr int64_t kIrVersion = 8, kOperatorSet = 17;
constexpr const char* kBatchName = "batch";
constexpr int kBlockBytes = 1 << 20;  // handed to the disk at once
constexpr size_t kMostBytes = std::numeric_limits<int32_t>::max();

onnx::TensorProto::DataType data_type(torch::ScalarType type, const std::string& name) {
  require(type == torch::kFloat32 || type == torch::kInt64, "onnx: {}: expected float32 or int64, got {}", name,
          c10::toString(type));
  return type == torch::kFloat32 ? onnx::TensorProto::FLOAT : onnx::TensorProto::INT64;
}

void fill(onnx::ValueInfoProto& info, const OnnxValue& value) {
  info.set_name(value.name);
  info.set_doc_string(value.help);
  auto* tensor = info.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(data_type(value.type, value.name));
  auto* shape = tensor->mutable_shape();
  for (const int64_t size : value.shape) {
    auto* dimension = shape->add_dim();
    if (size == OnnxGraph::kBatch) {
      dimension->set_dim_param(kBatchName);
    } else {
      dimension->set_dim_value(size);
    }
  }
}

void fill(onnx::AttributeProto& attribute, const OnnxAttribute& given) {
  attribute.set_name(given.name);
  if (const auto* number = std::get_if<int64_t>(&given.value)) {
    attribute.set_type(onnx::AttributeProto::INT);
    attribute.set_i(*number);
  } else if (const auto* real = std::get_if<float>(&given.value)) {
    attribute.set_type(onnx::AttributeProto::FLOAT);
    attribute.set_f(*real);
  } else {
    attribute.set_type(onnx::AttributeProto::INTS);
    for (const int64_t entry : std::get<std::vector<int64_t>>(given.value)) attribute.add_ints(entry);
  }
}

std::string text_of(const onnx::ValueInfoProto& info) {
  std::vector<std::string> sizes;
  for (const auto& dimension : info.type().tensor_type().shape().dim())
    sizes.push_back(dimension.has_dim_param() ? dimension.dim_param() : std::to_string(dimension.dim_value()));
  return fmt::format("{} [{}]", info.name(), fmt::join(sizes, ", "));
}

template <class Values>
std::string text_of_all(const Values& values) {
  std::vector<std::string> texts;
  for (const auto& value : values) texts.push_back(text_of(value));
  return fmt::format("{}", fmt::join(texts, ", "));
}

/// From protobuf to a file. An error must not fly through protobuf, whose destructors would write again.
class SinkStream : public google::protobuf::io::CopyingOutputStream {
 public:
  explicit SinkStream(const Sink& sink) : sink_(sink) {}

  bool Write(const void* buffer, int size) override {
    try {
      sink_({static_cast<const char*>(buffer), static_cast<size_t>(size)});
      return true;
    } catch (...) {
      failure_ = std::current_exception();
      return false;
    }
  }

  /// Throws what went wrong.
  void check() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  const Sink& sink_;
  std::exception_ptr failure_;
};

}  // namespace

OnnxGraph::OnnxGraph() : model_(std::make_unique<onnx::ModelProto>()) {
  model_->set_ir_version(kIrVersion);
  model_->set_producer_name("beit");
  model_->set_producer_version(std::string(version()));
  auto* operators = model_->add_opset_import();
  operators->set_domain("");
  operators->set_version(kOperatorSet);
  model_->mutable_graph()->set_name("beit");
}

OnnxGraph::~OnnxGraph() = default;
OnnxGraph::OnnxGraph(OnnxGraph&&) noexcept = default;
OnnxGraph& OnnxGraph::operator=(OnnxGraph&&) noexcept = default;

void OnnxGraph::add_name(const std::string& name) {
  require(names_.insert(name).second, "onnx: expected a name for each value, got '{}' twice", name);
}

std::string OnnxGraph::input(const OnnxValue& value) {
  add_name(value.name);
  fill(*model_->mutable_graph()->add_input(), value);
  return value.name;
}

std::string OnnxGraph::constant(const std::string& name, const torch::Tensor& values) {
  const auto type = data_type(values.scalar_type(), name);
  add_name(name);
  const auto dense = values.detach().to(torch::kCPU).contiguous();
  auto* tensor = model_->mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(type);
  for (const int64_t size : dense.sizes()) tensor->add_dims(size);
  tensor->set_raw_data(dense.const_data_ptr(), dense.nbytes());
  return name;
}

std::string OnnxGraph::node(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
                            const std::vector<OnnxAttribute>& attributes) {
  for (const std::string& input : inputs)
    require(has(input), "onnx: {}: expected inputs that are there, got '{}'", name, input);
  add_name(name);
  auto* node = model_->mutable_graph()->add_node();
  node->set_op_type(op);
  node->set_name(name);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(name);
  for (const OnnxAttribute& attribute : attributes) fill(*node->add_attribute(), attribute);
  return name;
}

void OnnxGraph::output(const OnnxValue& value) {
  require(has(value.name), "onnx: expected an output that is there, got '{}'", value.name);
  fill(*model_->mutable_graph()->add_output(), value);
}

void OnnxGraph::describe(const std::string& key, const std::string& text) {
  auto* entry = model_->add_metadata_props();
  entry->set_key(key);
  entry->set_value(text);
}

std::string OnnxGraph::signature() const {
  return fmt::format("{} -> {}", text_of_all(model_->graph().input()), text_of_all(model_->graph().output()));
}

void OnnxGraph::write(const std::filesystem::path& path) const {
  const size_t bytes = model_->ByteSizeLong();
  require(bytes <= kMostBytes,
          "{}: expected a network that one ONNX file can hold, which is less than 2 GiB, got {} bytes; export a "
          "smaller model",
          path.string(), bytes);
  write_file_atomically(path, [&](const Sink& sink) {
    SinkStream stream(sink);
    google::protobuf::io::CopyingOutputStreamAdaptor blocks(&stream, kBlockBytes);
    const bool written = model_->SerializeToZeroCopyStream(&blocks) && blocks.Flush();
    stream.check();
    require(written, "{}: expected to write {} bytes, got an error of protobuf", path.string(), bytes);
  });
}

}  // namespace beit
