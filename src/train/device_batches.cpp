#include "train/device_batches.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <exception>
#include <utility>

namespace beit {

struct DeviceBatches::Copies {
  explicit Copies(const torch::Device& device)
      : guard(device.type()), stream(guard.getStreamFromGlobalPool(device)), arrived(device.type()) {}

  c10::impl::VirtualGuardImpl guard;
  c10::Stream stream;
  c10::Event arrived;
  std::optional<Batch> batch = {};
  std::exception_ptr error = nullptr;  // in its place
};

DeviceBatches::DeviceBatches(Loader& loader, const torch::Device& device) : loader_(loader), device_(device) {
  if (!device.is_cpu()) copies_ = std::make_unique<Copies>(device);
}

DeviceBatches::~DeviceBatches() = default;

void DeviceBatches::start(int64_t epoch, int64_t first_batch) {
  loader_.start(epoch, first_batch);
  if (!copies_) return;
  copies_->error = nullptr;
  send_next();
}

std::optional<Batch> DeviceBatches::next() {
  if (!copies_) return loader_.next();
  if (const auto error = std::exchange(copies_->error, nullptr)) std::rethrow_exception(error);
  std::optional<Batch> batch = std::exchange(copies_->batch, std::nullopt);
  if (!batch) return std::nullopt;
  const c10::Stream computing = copies_->guard.getStream(device_);
  copies_->arrived.block(computing);
  for (const auto& view : batch->views) {
    if (!view.is_cpu()) view.record_stream(computing);  // its memory is not another's before
  }
  send_next();
  return batch;
}

void DeviceBatches::send_next() try {
  copies_->batch = loader_.next();
  if (!copies_->batch) return;
  const c10::StreamGuard on_stream(copies_->stream);
  for (auto& view : copies_->batch->views) {
    if (view.scalar_type() != torch::kBool) view = view.to(torch::TensorOptions(device_), /*non_blocking=*/true);
  }
  copies_->arrived.record(copies_->stream);
} catch (...) {
  copies_->batch.reset();
  copies_->error = std::current_exception();
}

}  // namespace beit
