#include "train/torch_optimizer.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/train/small_models.h"
#include "train/loop.h"
#include "train/optimizer.h"

namespace beit {
namespace {

/// A network after two steps, and what torch.save({"model": ..., "optimizer": ...}) would make of it.
template <class Holder>
struct Trained {
  Holder network;
  AdamW optimizer;
  TensorFile file;

  explicit Trained(Holder module) : network(std::move(module)), optimizer(*network, {}) {
    torch::manual_seed(3);
    for (int step = 0; step < 2; ++step) {
      for (auto& parameter : network->parameters()) {
        if (parameter.requires_grad()) parameter.mutable_grad() = torch::randn_like(parameter);
      }
      optimizer.step(1e-3);
    }
    // In PyTorch's order: a module's parameters and buffers, then its children's. The first group is the one that the
    // first parameter is of.
    std::vector<std::string> groups[2];
    bool first_decays = false, any = false;
    for (const auto& entry : network->named_parameters()) {
      add("model." + entry.key(), entry.value().detach());
      if (!entry.value().requires_grad()) continue;
      const bool decay = decays(entry.key(), entry.value());
      if (!any) first_decays = decay;
      any = true;
      groups[decay == first_decays ? 0 : 1].push_back(entry.key());
    }
    for (const auto& entry : network->named_buffers()) add("model." + entry.key(), entry.value());
    const auto state = optimizer.state();
    int64_t number = 0;
    for (const auto& group : groups) {
      for (const std::string& name : group) {
        for (const char* moment : {"exp_avg", "exp_avg_sq"}) {
          add(fmt::format("optimizer.state.{}.{}", number, moment), state.at(fmt::format("{}.{}", moment, name)));
        }
        file.metadata[fmt::format("optimizer.state.{}.step", number++)] = "2";
      }
    }
  }

  void add(const std::string& name, const torch::Tensor& tensor) {
    file.tensors.emplace(name, tensor);
    file.order.push_back(name);
  }

  Exported exported(const TensorFile& given) const {
    const NetworkFile found = as_network(given, "f.pth", {.heads = kSmallModel.heads});
    return export_checkpoint(given, found, *whole_network(found));
  }
};

MaskedImageModel small_mim() {
  torch::manual_seed(8);
  return MaskedImageModel(mim_options(kSmallModel, {.early_layers = 1, .head_layers = 1}, kSmallCodes));
}

Tokenizer small_tokenizer() {
  torch::manual_seed(8);
  return Tokenizer(tokenizer_options(
      kSmallModel, {.codes = kSmallCodes, .code_dim = 4, .kmeans_start = false, .decoder_depth = 1}, kSmallTarget));
}

void check_equal(const TensorMap& found, const TensorMap& expected) {
  CHECK(found.size() == expected.size());
  for (const auto& [name, tensor] : expected) {
    CAPTURE(name);
    REQUIRE(found.contains(name));
    CHECK(torch::equal(found.at(name), tensor));
  }
}

TEST_CASE("torch optimizer: a pre-training goes on with the moments that PyTorch saved") {
  const Trained<MaskedImageModel> trained(small_mim());
  const Exported exported = trained.exported(trained.file);
  check_equal(exported.tensors, checkpoint_tensors(*trained.network, trained.optimizer, {}));
  CHECK(exported.metadata.at("command") == "pretrain");
  CHECK(exported.metadata.at("step") == "2");
}

TEST_CASE("torch optimizer: so does a tokenizer's training, with usage counted anew") {
  const Trained<Tokenizer> trained(small_tokenizer());
  Tokenizer network = trained.network;
  const Exported exported = trained.exported(trained.file);
  check_equal(exported.tensors, checkpoint_tensors(*network, trained.optimizer, network->quantizer()->progress()));
  CHECK(exported.metadata.at("command") == "vqkd");
}

TEST_CASE("torch optimizer: steps may be a tensor; what is absent or another network's is refused") {
  const Trained<MaskedImageModel> trained(small_mim());
  auto file = trained.file;
  file.metadata.clear();
  CHECK_THROWS_WITH_AS(trained.exported(file), doctest::Contains("f.pth: expected optimizer.state.0.step as a number"),
                       Error);
  file.tensors["optimizer.state.0.step"] = torch::full({}, 5.0);
  CHECK(trained.exported(file).metadata.at("step") == "5");
  file.tensors.erase("optimizer.state.3.exp_avg");
  CHECK_THROWS_WITH_AS(trained.exported(file), doctest::Contains("expected the state exp_avg of parameter 3"), Error);
  file.tensors["optimizer.state.3.exp_avg"] = torch::ones({3, 3});
  CHECK_THROWS_WITH_AS(trained.exported(file),
                       doctest::Contains("f.pth: expected the state of AdamW in the published code's two groups"),
                       Error);
  file = trained.file;
  file.tensors["optimizer.state.1000.exp_avg"] = torch::ones({3});
  CHECK_NOTHROW(trained.exported(file));
  int64_t parameters = 0;
  for (const auto& parameter : trained.network->parameters()) parameters += parameter.requires_grad() ? 1 : 0;
  file.tensors[fmt::format("optimizer.state.{}.exp_avg", parameters)] = torch::ones({3});
  CHECK_THROWS_WITH_AS(trained.exported(file), doctest::Contains("got more"), Error);
}

}  // namespace
}  // namespace beit
