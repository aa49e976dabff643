// Event files, which TensorBoard shows: curves, pictures and histograms of a run by step (docs/FORMATS.md, RUN/events).
// Shape letters: H and W pixels, C = 3 channels.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace beit {

/// A task shows so many images of a batch.
inline constexpr int64_t kShownImages = 8;

/// What a task shows of itself.
struct Picture {
  std::string tag;
  torch::Tensor pixels_HWC;  ///< uint8
};

/// Writes one new file. Each call appends one record by one write: nothing is held back, and a killed process leaves at
/// most one record incomplete, where TensorBoard goes on to the next file.
///
/// Where a record cannot be written (the disk is full) it is left out, the file ends with the last whole record, and
/// the log says so the first time; later records are tried all the same. Used by one thread, in a distributed run of
/// one rank.
class EventWriter {
 public:
  /// Creates `folder` if need be, and in it `events.out.tfevents.<seconds>.<host>.<process>`, whose name comes after
  /// those that are there already. `done_steps`: optimizer steps behind the run, 0 at its beginning; what other files
  /// say of later steps TensorBoard drops, since a resumed run says it anew. Error where the file cannot be created.
  EventWriter(const std::filesystem::path& folder, int64_t done_steps);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  /// Stored as float32. `step`: optimizer steps done, from 1, as in log.jsonl.
  void scalar(const std::string& tag, double value, int64_t step);

  /// uint8 [H, W, C], stored as PNG. Error for another shape or type.
  void image(const std::string& tag, const torch::Tensor& pixels_HWC, int64_t step);

  /// How the finite ones of `values` (any shape, type and device) are distributed, in 30 equal intervals; nothing is
  /// written where there is none.
  void histogram(const std::string& tag, const torch::Tensor& values, int64_t step);

  const std::filesystem::path& path() const { return path_; }

 private:
  void append(const std::string& record);

  std::filesystem::path path_;
  std::string head_;  // what the file begins with
  int file_ = -1;     // descriptor; -1 once the file cannot be mended
  int64_t written_bytes_ = 0;
  bool complained_ = false;
};

}  // namespace beit
