#include "data/pack.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>

#include "base/checksum.h"
#include "base/error.h"
#include "base/random.h"
#include "base/stopped.h"
#include "data/for_each.h"
#include "data/image.h"
#include "data/image_path.h"
#include "data/shard_index.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlock = 512;  // bytes

int64_t padding(int64_t size) { return (kBlock - size % kBlock) % kBlock; }

std::string_view text_of(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A regular file in ustar form, without owner and time: equal images make equal archives.
std::string tar_header(const std::string& name, int64_t size) {
  std::string header(kBlock, '\0');
  const auto put = [&](size_t at, std::string_view text) { header.replace(at, text.size(), text); };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, fmt::format("{:011o}", size));
  put(136, "00000000000");
  put(148, "        ");
  put(156, "0");
  put(257, std::string_view("ustar\00000", 8));
  const int64_t sum = std::accumulate(header.begin(), header.end(), int64_t{0},
                                      [](int64_t so_far, char c) { return so_far + static_cast<uint8_t>(c); });
  put(148, fmt::format("{:06o}", sum));
  header[154] = '\0';
  return header;
}

// The place in the packed order comes first, so that paths sort as the images lie; then the file's own name, as far as
// it makes a key.
std::string key_of(int64_t place, const std::string& path) {
  constexpr size_t kLongest = 64;
  const auto base = base_name(path);
  std::string stem(base.substr(0, std::min(base.rfind('.'), kLongest)));
  const auto is_plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
  };
  std::ranges::replace_if(
      stem, [&](char c) { return !is_plain(c); }, '_');
  return fmt::format("{:09}-{}", place, stem);
}

const char* ending_of(std::span<const uint8_t> bytes, const std::string& path) {
  switch (image_format(bytes)) {
    case ImageFormat::kJpeg: return "jpg";
    case ImageFormat::kPng: return "png";
    case ImageFormat::kWebp: return "webp";
    case ImageFormat::kGif: return "gif";
    case ImageFormat::kBmp: return "bmp";
    case ImageFormat::kUnknown: break;
  }
  fail("{}: expected an image whose format has an ending ({}), got another", path, kImageEndings);
}

fs::path shard_path(const fs::path& folder, const std::string& name, int64_t shard) {
  return folder / fmt::format("{}-{:06}.tar", name, shard);
}

// Whether a file is named as a shard of the set is, whatever its number.
bool is_shard_name(std::string_view file, std::string_view name) {
  constexpr std::string_view kEnding = ".tar";
  constexpr size_t kLeastDigits = 6;
  if (!file.starts_with(name) || !file.ends_with(kEnding)) return false;
  file.remove_prefix(name.size());
  if (file.size() < 1 + kLeastDigits + kEnding.size() || file.front() != '-') return false;
  const auto digits = file.substr(1, file.size() - 1 - kEnding.size());
  return digits.find_first_not_of("0123456789") == std::string_view::npos;
}

// Counts and checks the bytes of an archive on their way.
class TarStream {
 public:
  explicit TarStream(const ByteSink& sink) : sink_(sink) {}

  void write(std::string_view bytes) {
    sink_(bytes);
    crc32_ = crc32({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, crc32_);
    bytes_ += std::ssize(bytes);
  }

  /// Where its bytes begin.
  int64_t add(const std::string& name, std::string_view bytes) {
    write(tar_header(name, std::ssize(bytes)));
    const int64_t offset = bytes_;
    write(bytes);
    write(std::string(static_cast<size_t>(padding(std::ssize(bytes))), '\0'));
    return offset;
  }

  int64_t bytes() const { return bytes_; }
  uint32_t checksum() const { return crc32_; }

 private:
  const ByteSink& sink_;
  int64_t bytes_ = 0;
  uint32_t crc32_ = 0;
};

class Packing {
  struct GivenUp {};  ///< thrown in a shard that is given up because another one failed

 public:
  Packing(const Dataset& dataset, const fs::path& folder, const PackOptions& options, const FileWriter& write_file,
          const std::function<bool(int64_t)>& progress)
      : dataset_(dataset), folder_(folder), options_(options), write_file_(write_file), progress_(progress) {
    if (options_.shuffle) {
      order_ = Random(options_.seed, 0, 0, Purpose::kOrder).permutation(dataset_.size());
    } else {
      order_.resize(static_cast<size_t>(dataset_.size()));
      std::iota(order_.begin(), order_.end(), int64_t{0});
    }
    cut();
    damaged_.resize(static_cast<size_t>(shards()));
  }

  Packed run() {
    check_classes();
    check_folder();
    for_each_parallel(shards(), options_.workers, [&](int64_t shard) {
      try {
        pack(shard);
      } catch (const GivenUp&) {
      } catch (...) {
        failed_ = true;
        throw;
      }
    });
    for (auto& reasons : damaged_) std::ranges::move(reasons, std::back_inserter(packed_.damaged));
    packed_.shards = shards();
    return std::move(packed_);
  }

 private:
  int64_t shards() const { return std::ssize(starts_) - 1; }

  // Where each shard begins in the order, and the end.
  void cut() {
    const int64_t end_bytes = 2 * kBlock + kSealBytes;
    int64_t images = 0, bytes = end_bytes;
    starts_ = {0};
    for (int64_t place = 0; place < std::ssize(order_); ++place) {
      const int64_t image = order_[static_cast<size_t>(place)], size = dataset_.bytes(image);
      const int64_t both = kBlock + size + padding(size) + (dataset_.label(image) < 0 ? 0 : 2 * kBlock);
      if (images > 0 && (images == options_.shard_images || bytes + both > options_.shard_bytes)) {
        starts_.push_back(place);
        images = 0;
        bytes = end_bytes;
      }
      ++images;
      bytes += both;
    }
    starts_.push_back(std::ssize(order_));
  }

  // What cannot work, before the work: names that an index, which is JSON, cannot hold.
  void check_classes() const {
    if (dataset_.numbered_classes()) return;
    const auto& classes = dataset_.classes();
    const auto refused = std::ranges::find_if_not(classes, is_index_text);
    if (refused == classes.end()) return;
    int64_t image = 0;
    while (image + 1 < dataset_.size() && dataset_.label(image) != refused - classes.begin()) ++image;
    fail("{}: expected a class whose name is UTF-8, got '{}'; rename its folder, or the class in its list",
         dataset_.path(image), *refused);
  }

  // The same of what is there already.
  void check_folder() const {
    std::map<std::string, int64_t> planned;  // file names
    for (int64_t i = 0; i < shards(); ++i) planned.emplace(shard_path("", options_.name, i).string(), i);
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const std::string file = entry.path().filename().string();
      if (!is_shard_name(file, options_.name)) continue;
      const auto found = planned.find(file);
      if (found == planned.end()) refuse(entry.path(), fmt::format("one beside these {} shards", shards()));
      if (!fs::exists(index_path(entry.path()))) refuse(entry.path(), "one without index");
      const auto index = read_shard_index(index_path(entry.path()), static_cast<int64_t>(entry.file_size()));
      if (index.shards != shards()) refuse(entry.path(), fmt::format("one of a set of {} shards", index.shards));
      const auto shard = static_cast<size_t>(found->second);
      const auto most = starts_[shard + 1] - starts_[shard], images = std::ssize(index.images);
      if (images > most || (images < most && !options_.skip_damaged)) {
        refuse(entry.path(), fmt::format("one of {} images", images));
      }
    }
  }

  /// Of all but the closing seal.
  static uint32_t checksum(const TarFile& archive, int64_t archive_bytes) {
    constexpr int64_t kPart = 1 << 20;
    const int64_t end = archive_bytes - static_cast<int64_t>(shard_seal(0, 0).size());
    uint32_t crc = 0;
    for (int64_t at = 0; at < end; at += kPart) crc = crc32(archive.read(at, std::min(kPart, end - at)), crc);
    return crc;
  }

  [[noreturn]] static void refuse(const fs::path& path, const std::string& got) {
    fail(
        "{}: expected no archive there, or the one that would be written, got {}; choose another --output or --name, "
        "or remove it",
        path.string(), got);
  }

  void pack(int64_t shard) {
    const auto path = shard_path(folder_, options_.name, shard);
    const bool is_there = fs::exists(path);
    std::optional<ShardIndex> index;
    if (is_there) {
      index = write(shard, [](std::string_view) {});
      const TarFile archive(path);
      const auto found = read_shard_index(index_path(path), archive.bytes());
      require_same_shard(archive, found);
      if (to_json(found) != to_json(*index)) refuse(path, "one of other content");
      if (checksum(archive, index->archive_bytes) != index->archive_crc32) refuse(path, "a damaged one");
    } else {
      write_file_(path, [&](const ByteSink& sink) {
        index = write(shard, sink);
        // Before the archive appears: nobody finds one without its index.
        write_file_(index_path(path), [&](const ByteSink& beside) { beside(to_json(*index)); });
      });
    }
    const std::lock_guard lock(mutex_);
    packed_.kept_shards += is_there ? 1 : 0;
    packed_.images += std::ssize(index->images);
    for (const auto& image : index->images) packed_.bytes += image.size;
  }

  ShardIndex write(int64_t shard, const ByteSink& sink) {
    constexpr int64_t kAhead = 16;  // images
    ShardIndex index{.name = options_.name, .shard = shard, .shards = shards()};
    if (!dataset_.numbered_classes() && !dataset_.classes().empty()) index.classes = dataset_.classes();
    TarStream tar(sink);
    const int64_t end = starts_[static_cast<size_t>(shard) + 1];
    for (int64_t place = starts_[static_cast<size_t>(shard)]; place < end; ++place) {
      if (place + kAhead < end) dataset_.prefetch(order_[static_cast<size_t>(place + kAhead)]);
      add(tar, index, shard, place);
      note_progress();
    }
    tar.write(std::string(2 * kBlock, '\0'));
    index.archive_crc32 = tar.checksum();
    const std::string seal = shard_seal(tar.bytes(), tar.checksum());
    tar.write(seal);
    index.archive_bytes = tar.bytes();
    return index;
  }

  void add(TarStream& tar, ShardIndex& index, int64_t shard, int64_t place) {
    const int64_t image = order_[static_cast<size_t>(place)], label = dataset_.label(image);
    std::vector<uint8_t> bytes;
    try {
      bytes = dataset_.read(image);
      decode_image(bytes, dataset_.path(image));
    } catch (const Error& error) {
      if (!options_.skip_damaged) fail("{}; --skip-damaged leaves such images out", error.what());
      damaged_[static_cast<size_t>(shard)].emplace_back(error.what());
      return;
    }
    const std::string key = key_of(place, dataset_.path(image)),
                      name = fmt::format("{}.{}", key, ending_of(bytes, dataset_.path(image)));
    const int64_t offset = tar.add(name, text_of(bytes));
    if (label >= 0) tar.add(key + ".cls", std::to_string(label));
    index.images.push_back(
        {.name = name, .label = {.number = label}, .offset = offset, .size = std::ssize(bytes), .crc32 = crc32(bytes)});
  }

  void note_progress() {
    const std::lock_guard lock(mutex_);
    if (failed_) throw GivenUp();
    ++done_;
    if (!progress_(done_)) {
      throw Stopped(
          fmt::format("pack: stopped after {} of {} images; the same command goes on", done_, dataset_.size()));
    }
  }

  const Dataset& dataset_;
  const fs::path& folder_;
  const PackOptions& options_;
  const FileWriter& write_file_;
  const std::function<bool(int64_t)>& progress_;
  std::vector<int64_t> order_, starts_;
  std::vector<std::vector<std::string>> damaged_;  // a shard's belong to its thread
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;  // guards the two below
  int64_t done_ = 0;
  Packed packed_;
};

}  // namespace

Packed pack_images(const Dataset& dataset, const fs::path& folder, const PackOptions& options,
                   const FileWriter& write_file, const std::function<bool(int64_t)>& progress) {
  require(dataset.size() > 0, "pack: expected at least one image, got an empty dataset");
  require(options.shard_images > 0 && options.shard_bytes > 0 && options.workers > 0,
          "pack: expected shards of at least 1 image and 1 byte and 1 worker, got {}, {} and {}", options.shard_images,
          options.shard_bytes, options.workers);
  const bool plain = !options.name.empty() && options.name.size() <= 64 && !options.name.starts_with('.') &&
                     options.name.find_first_of(std::string_view("/{}\0\n", 5)) == std::string::npos;
  require(plain && is_index_text(options.name),
          "pack: expected a name for files in UTF-8, without / and braces, got '{}'", options.name);
  return Packing(dataset, folder, options, write_file, progress).run();
}

}  // namespace beit
