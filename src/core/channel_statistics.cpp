#include "core/channel_statistics.h"

#include "base/error.h"

namespace beit {

torch::Tensor ChannelStatistics::standardise(const torch::Tensor& features) const {
  const auto x = features.to(torch::kFloat32);
  return (x - mean_D.to(x.device())) / std_D.to(x.device());
}

ChannelMoments::ChannelMoments(int64_t channels)
    : sums_D_(torch::zeros({channels}, torch::kFloat64)), squares_D_(torch::zeros({channels}, torch::kFloat64)) {}

void ChannelMoments::add(const torch::Tensor& features) {
  const int64_t channels = sums_D_.size(0);
  require(features.dim() >= 1 && features.size(-1) == channels,
          "channel statistics: expected features [..., {}], got [{}]; all batches must come from one teacher", channels,
          fmt::join(features.sizes(), ", "));
  torch::NoGradGuard no_grad;
  const auto x_MD = features.reshape({-1, channels}).to(torch::kFloat64);
  sums_D_ += x_MD.sum(0).cpu();
  squares_D_ += x_MD.square().sum(0).cpu();
  rows_ += x_MD.size(0);
}

ChannelStatistics ChannelMoments::statistics(const std::function<void(torch::Tensor&)>& sum_over_ranks) const {
  torch::NoGradGuard no_grad;
  const int64_t channels = sums_D_.size(0);
  auto all = torch::cat({sums_D_, squares_D_, torch::full({1}, static_cast<double>(rows_), torch::kFloat64)});
  if (sum_over_ranks) sum_over_ranks(all);
  const double rows = all[2 * channels].item<double>();
  require(rows > 0, "channel statistics: expected features of at least one image, got none; check --data");
  const auto mean_D = all.slice(0, 0, channels) / rows;
  const auto square_D = all.slice(0, channels, 2 * channels) / rows;
  const auto variance_D = square_D - mean_D.square();
  // What rounding leaves of a constant channel's variance is not worth blowing up.
  const auto std_D = torch::where(variance_D > 1e-12 * square_D, variance_D, torch::ones_like(variance_D)).sqrt();
  return {.mean_D = mean_D.to(torch::kFloat32), .std_D = std_D.to(torch::kFloat32)};
}

}  // namespace beit
