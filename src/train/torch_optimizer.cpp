#include "train/torch_optimizer.h"

#include <charconv>
#include <optional>

#include "base/error.h"
#include "train/loop.h"
#include "train/optimizer.h"

namespace beit {
namespace {

constexpr std::string_view kState = "optimizer.state.";

/// Parameters that are trained, as the published code's optimizer numbers them.
std::vector<std::string> numbered(const NetworkFile& file, const torch::nn::Module& network) {
  std::vector<std::string> groups[2];  // the first that the order meets, and the other
  std::optional<bool> first;
  const auto parameters = network.named_parameters();
  for (const std::string& name : file.order) {
    const auto* const parameter = parameters.find(name);
    if (parameter == nullptr || !parameter->requires_grad()) continue;
    const bool decay = decays(name, *parameter);
    if (!first) first = decay;
    groups[decay == *first ? 0 : 1].push_back(name);
  }
  groups[0].insert(groups[0].end(), groups[1].begin(), groups[1].end());
  return groups[0];
}

int64_t steps_taken(const TensorFile& given, const std::string& path) {
  const std::string name = fmt::format("{}0.step", kState);
  int64_t steps = -1;
  if (const auto number = given.metadata.find(name); number != given.metadata.end()) {
    const std::string& text = number->second;
    std::from_chars(text.data(), text.data() + text.size(), steps);
  } else if (const auto tensor = given.tensors.find(name);
             tensor != given.tensors.end() && tensor->second.numel() == 1) {
    steps = tensor->second.item<int64_t>();
  }
  require(steps >= 0, "{}: expected {} as a number, got none; save optimizer.state_dict() of AdamW beside the model",
          path, name);
  return steps;
}

}  // namespace

Exported export_checkpoint(const TensorFile& given, const NetworkFile& file, torch::nn::Module& network) {
  const bool tokenizer = file.network == Network::kTokenizer;
  require(tokenizer || file.network == Network::kPretrained,
          "{}: expected a tokenizer or a pre-trained model to go on training, got {}; leave --optimizer out", file.path,
          readable(file.network));
  const int64_t steps = steps_taken(given, file.path);
  const auto names = numbered(file, network);
  TensorMap state{{"step", torch::full({}, static_cast<double>(steps), torch::kFloat32)}};
  for (size_t i = 0; i < names.size(); ++i) {
    for (const char* moment : {"exp_avg", "exp_avg_sq"}) {
      const auto found = given.tensors.find(fmt::format("{}{}.{}", kState, i, moment));
      require(found != given.tensors.end(),
              "{}: expected the state {} of parameter {} ({}), got none; its optimizer is "
              "another network's",
              file.path, moment, i, names[i]);
      state.emplace(fmt::format("{}.{}", moment, names[i]), found->second);
    }
  }
  require(!given.tensors.contains(fmt::format("{}{}.exp_avg", kState, names.size())),
          "{}: expected the states of {} parameters, got more; its optimizer is another network's", file.path,
          names.size());

  AdamW optimizer(network, {});
  try {
    optimizer.set_state(state);
  } catch (const Error& error) {
    fail("{}: expected the state of AdamW in the published code's two groups, decay and no decay, got another: {}",
         file.path, error.what());
  }
  const TensorMap progress = tokenizer ? network.as<TokenizerImpl>()->quantizer()->progress() : TensorMap{};
  Exported exported = export_own(file);
  exported.tensors = checkpoint_tensors(network, optimizer, progress);
  exported.metadata["command"] = tokenizer ? "vqkd" : "pretrain";
  exported.metadata["step"] = std::to_string(steps);
  return exported;
}

}  // namespace beit
