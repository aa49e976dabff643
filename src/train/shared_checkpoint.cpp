#include "train/shared_checkpoint.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace beit {
namespace {

using Json = nlohmann::json;

/// All but the tensors' values: step, metadata, path, and name, type and shape of each tensor in the map's order.
std::string header_of(const Checkpoint& state) {
  Json tensors = Json::array();
  for (const auto& [name, value] : state.tensors) {
    tensors.push_back({name, static_cast<int>(value.scalar_type()), value.sizes().vec()});
  }
  return Json{{"step", state.step}, {"metadata", state.metadata}, {"path", state.path.string()}, {"tensors", tensors}}
      .dump();
}

Checkpoint from_header(const std::string& text) {
  const Json header = Json::parse(text);
  Checkpoint state{.step = header.at("step").get<int64_t>(),
                   .metadata = header.at("metadata").get<std::map<std::string, std::string>>(),
                   .path = header.at("path").get<std::string>()};
  for (const auto& tensor : header.at("tensors")) {
    state.tensors.emplace(
        tensor[0].get<std::string>(),
        torch::empty(tensor[2].get<std::vector<int64_t>>(), static_cast<torch::ScalarType>(tensor[1].get<int>())));
  }
  return state;
}

}  // namespace

std::optional<Checkpoint> shared(Distributed& distributed, std::optional<Checkpoint> state) {
  if (distributed.ranks() == 1) return state;
  std::string header = distributed.leads() && state ? header_of(*state) : "";
  auto length = torch::tensor({static_cast<int64_t>(header.size())}, torch::kInt64);
  distributed.broadcast(length, 0);
  if (length.item<int64_t>() == 0) return std::nullopt;
  header.resize(static_cast<size_t>(length.item<int64_t>()));
  auto bytes = torch::empty({length.item<int64_t>()}, torch::kUInt8);
  std::memcpy(bytes.mutable_data_ptr(), header.data(), header.size());
  distributed.broadcast(bytes, 0);
  std::memcpy(header.data(), bytes.const_data_ptr(), header.size());
  if (!distributed.leads()) state = from_header(header);
  for (auto& [name, value] : state->tensors) {
    auto sent = value.contiguous();
    if (sent.numel() > 0) distributed.broadcast(sent, 0);
    value = sent;
  }
  return state;
}

void require_equal(Distributed& distributed, const TensorMap& tensors) {
  if (distributed.ranks() == 1) return;
  uint64_t hash = 0;
  for (const auto& [name, value] : tensors) {
    if (value.numel() == 0) continue;
    uint64_t part = 0;
    std::memcpy(&part, at::hash_tensor(value.detach()).cpu().const_data_ptr(), sizeof part);
    hash = (hash ^ part) * 0x9e3779b97f4a7c15ULL;
  }
  const auto hashes = distributed.gather(static_cast<int64_t>(hash));
  std::string others;
  for (size_t rank = 1; rank < hashes.size(); ++rank) {
    if (hashes[rank] != hashes[0]) others += fmt::format("{}{}", others.empty() ? "" : ", ", rank);
  }
  require(
      others.empty(),
      "training: expected the same weights and codebook on all ranks, got others than rank 0's on rank {}; are all of "
      "the same processor and program? go on from the last checkpoint",
      others);
}

}  // namespace beit
