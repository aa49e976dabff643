#include "core/step_rows.h"

#include <algorithm>

#include "base/error.h"

namespace beit {

torch::Tensor PlacedRows::front(int64_t most, const Ranks& ranks) const {
  const int64_t wanted = std::min(rows, std::max(patches, most / patches * patches));
  const auto held_R = row_M.lt(wanted).nonzero().squeeze(1);
  auto front_RD = torch::zeros({wanted, z_MD.size(1)}, z_MD.options());
  front_RD.index_copy_(0, row_M.index_select(0, held_R), z_MD.index_select(0, held_R));
  ranks.sum(front_RD);
  return front_RD;
}

torch::Tensor PlacedRows::pick(const torch::Tensor& row_R, const Ranks& ranks) const {
  auto place = torch::full({rows}, -1, row_M.options());  // of each of the step's rows among this rank's
  place.index_copy_(0, row_M, torch::arange(row_M.size(0), row_M.options()));
  const auto place_R = place.index_select(0, row_R);
  const auto held_R = place_R.ge(0).nonzero().squeeze(1);
  auto picked_RD = torch::zeros({row_R.size(0), z_MD.size(1)}, z_MD.options());
  picked_RD.index_copy_(0, held_R, z_MD.index_select(0, place_R.index_select(0, held_R)));
  ranks.sum(picked_RD);
  return picked_RD;
}

void StepRows::add(const torch::Tensor& z_BND, const StepPart& part) {
  check_part(part, z_BND.size(0));
  if (z_MD_.empty()) {
    samples_ = part.samples;
    patches_ = z_BND.size(1);
  }
  require(part.samples == samples_ && (samples_ == 0 || z_BND.size(1) == patches_),
          "quantizer: expected a part of a step of {} samples with {} vectors each, got one of {} with {}; call "
          "update() or "
          "discard() between steps",
          samples_, patches_, part.samples, z_BND.size(1));
  z_MD_.push_back(z_BND.flatten(0, 1));
  if (samples_ > 0) samples_B_.push_back(part.samples_B.to(z_BND.device()));
}

PlacedRows StepRows::place(const Ranks& ranks) const {
  PlacedRows placed;
  placed.patches = patches_;
  placed.z_MD = torch::cat(z_MD_);
  const auto options = torch::TensorOptions(torch::kInt64).device(placed.z_MD.device());
  auto held_by_rank = torch::zeros({ranks.size}, options);
  held_by_rank[ranks.rank] = placed.z_MD.size(0);
  ranks.sum(held_by_rank);
  const auto held = held_by_rank.sum().item<int64_t>();
  if (samples_ == 0) {
    placed.rows = held;
    placed.row_M = held_by_rank.slice(0, 0, ranks.rank).sum() + torch::arange(placed.z_MD.size(0), options);
    return placed;
  }
  placed.rows = samples_ * patches_;
  require(
      held == placed.rows,
      "quantizer: expected the {} vectors of all {} samples of the step, got {}; the parts of all ranks must make up "
      "the step, and a k-means start from parts needs stage_start()",
      placed.rows, samples_, held);
  placed.row_M = (torch::cat(samples_B_).unsqueeze(1) * patches_ + torch::arange(patches_, options)).flatten();
  return placed;
}

}  // namespace beit
