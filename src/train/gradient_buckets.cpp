#include "train/gradient_buckets.h"

#include <numeric>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <type_traits>
#include <unordered_map>

#include "base/error.h"

namespace beit {
namespace {

using Buckets = std::vector<std::vector<size_t>>;
using Parameters = std::vector<at::Tensor>;

/// The last parameters come first, as their gradients do.
Buckets buckets_of(const Parameters& parameters) {
  const Parameters reversed(parameters.rbegin(), parameters.rend());
  std::vector<int64_t> indices(parameters.size());
  std::iota(indices.rbegin(), indices.rend(), 0);
  return std::get<0>(
      c10d::compute_bucket_assignment_by_size(reversed, {c10d::kDefaultFirstBucketBytes, c10d::kDefaultBucketBytesCap},
                                              std::vector<bool>(parameters.size(), false), indices));
}

/// LibTorch 2.13 takes the sizes of buckets once more, and 2.11 does not; they matter for buckets that are rebuilt
/// only.
template <class Reducer>
std::unique_ptr<Reducer> make_reducer(const Parameters& parameters, const Buckets& buckets,
                                      const c10::intrusive_ptr<c10d::ProcessGroup>& group,
                                      const std::unordered_map<size_t, std::string>& names) {
  const auto make = [&](auto... more) {
    return std::make_unique<Reducer>(parameters, buckets, group, std::vector<bool>(parameters.size(), false),
                                     int64_t{c10d::kDefaultBucketBytesCap}, /*find_unused_parameters=*/false,
                                     /*gradient_as_bucket_view=*/true, names, int64_t{c10d::kDefaultFirstBucketBytes},
                                     /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false, more...);
  };
  if constexpr (std::is_constructible_v<Reducer, Parameters, Buckets, c10::intrusive_ptr<c10d::ProcessGroup>,
                                        std::vector<bool>, int64_t, bool, bool, std::unordered_map<size_t, std::string>,
                                        int64_t, bool, bool>) {
    return make();
  } else {
    return make(std::vector<int64_t>{});
  }
}

}  // namespace

struct GradientBuckets::Reduction {
  Parameters parameters;
  std::vector<std::string> names;
  std::unique_ptr<c10d::Reducer> reducer;
  int64_t passes = 0;  // of this reducer
};

GradientBuckets::GradientBuckets(Distributed& ranks, const torch::nn::Module& module) : ranks_(ranks) {
  if (ranks.ranks() == 1) return;
  auto reduction = std::make_unique<Reduction>();
  Parameters& parameters = reduction->parameters;
  for (const auto& parameter : module.named_parameters()) {
    if (!parameter.value().requires_grad()) continue;
    reduction->names.push_back(parameter.key());
    parameters.push_back(parameter.value());
  }
  require(!parameters.empty(), "ranks: expected a model with parameters to train, got none");
  reduction_ = std::move(reduction);
}

GradientBuckets::~GradientBuckets() = default;

void GradientBuckets::backward(const torch::Tensor& loss) {
  if (reduction_) {
    // It notes the order of each pass for buckets that are never rebuilt, and so grows: a new one now and then.
    constexpr int64_t kPasses = 1000;
    if (!reduction_->reducer || ++reduction_->passes > kPasses) {
      std::unordered_map<size_t, std::string> names;
      for (const auto& name : reduction_->names) names.emplace(names.size(), name);
      reduction_->reducer.reset();  // and its hooks
      reduction_->reducer = make_reducer<c10d::Reducer>(reduction_->parameters, buckets_of(reduction_->parameters),
                                                        ranks_.group(), names);
      reduction_->passes = 1;
    }
    reduction_->reducer->prepare_for_backward({});
  }
  ranks_.guard([&] { loss.backward(); });
  check_reduced();
}

void GradientBuckets::check_reduced() const try {
  if (reduction_) reduction_->reducer->check_finalized();
} catch (const c10::Error&) {
  constexpr size_t kMostNamed = 5;
  std::string names;
  size_t without = 0;
  for (size_t i = 0; i < reduction_->parameters.size(); ++i) {
    if (reduction_->parameters[i].grad().defined()) continue;
    if (++without <= kMostNamed) names += (names.empty() ? "" : ", ") + reduction_->names[i];
  }
  fail("ranks: expected every parameter to take part in the loss, got some that did not{}{}{}",
       names.empty() ? "" : ": ", names, without > kMostNamed ? fmt::format(" and {} more", without - kMostNamed) : "");
}

}  // namespace beit
