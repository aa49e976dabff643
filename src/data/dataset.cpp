#include "data/dataset.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <set>
#include <string_view>

#include "base/checksum.h"
#include "base/error.h"
#include "data/image.h"
#include "data/image_path.h"
#include "data/list_file.h"
#include "data/path_pattern.h"
#include "data/shard.h"
#include "data/shard_index.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLargestFile = int64_t{1} << 30;  // bytes; no image of kMostPixels is larger

bool is_named_tar(const fs::path& path) { return lower_case(path.extension().string()) == ".tar"; }

// What lies below a folder, relative to it.
struct Below {
  std::vector<std::string> images, archives;
};

// `above` are the folders that lead here: a link back to one of them would never end.
void list(const fs::path& folder, const std::string& prefix, std::vector<fs::path>& above, Below& found) {
  above.push_back(fs::canonical(folder));
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    std::error_code ignored;
    if (name.starts_with('.')) continue;
    if (entry.is_directory(ignored)) {
      const auto real = fs::canonical(entry.path());
      if (std::ranges::find(above, real) == above.end()) list(entry.path(), prefix + name + '/', above, found);
    } else if (is_image_path(name) && !entry.is_other(ignored)) {
      found.images.push_back(prefix + name);
    } else if (is_named_tar(name) && entry.is_regular_file(ignored)) {
      found.archives.push_back(prefix + name);
    }
  }
  above.pop_back();
}

bool starts_like_image(const fs::path& path) {
  std::array<char, 16> start{};
  std::ifstream(path, std::ios::binary).read(start.data(), start.size());
  return image_format({reinterpret_cast<const uint8_t*>(start.data()), start.size()}) != ImageFormat::kUnknown;
}

std::string joined(const std::string& folder, std::string_view path) {
  return folder + (folder.empty() || folder.ends_with('/') ? "" : "/") + std::string(path);
}

}  // namespace

std::vector<uint8_t> read_image_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const int64_t size = file ? static_cast<int64_t>(file.tellg()) : -1;
  if (std::error_code none; size > kLargestFile && fs::is_directory(path, none)) {
    fail("{}: expected an image file, got a folder; name the files in it", path);
  }
  require(size >= 0 && size <= kLargestFile,
          "{}: expected a readable image file, got {}; check that it exists and its rights", path,
          size < 0 ? "none" : fmt::format("{} bytes", size));
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  file.seekg(0);
  require(size == 0 || file.read(reinterpret_cast<char*>(bytes.data()), size),
          "{}: expected {} bytes, got a read error", path, size);
  return bytes;
}

// Collects the images of the sources one after another.
class Dataset::Listing {
 public:
  void add_source(const fs::path& source) {
    const size_t before = found_.size();
    // A file of this very name comes before what its braces stand for.
    const std::string name = source.string();
    const bool is_pattern = name.find('{') != std::string::npos && !fs::exists(source);
    for (const auto& path : is_pattern ? expand_pattern(name) : std::vector{name}) add_path(path);
    require(found_.size() > before, "{}: expected images (ending {}), got none; give another path", name,
            kImageEndings);
    require_one_kind_of_place(name, before);
    ++source_;
  }

  Dataset dataset() && {
    std::ranges::stable_sort(found_, {}, [](const Found& image) -> const std::string& { return image.entry.path; });
    Dataset dataset;
    dataset.archives_ = std::move(archives_);
    dataset.sources_ = source_;
    const Found* numbered = nullptr;
    for (const auto& image : found_) {
      if (image.label.is_name()) classes_.emplace(image.label.name, 0);
      if (image.label.number > (numbered == nullptr ? -1 : numbered->label.number)) numbered = &image;
    }
    if (numbered != nullptr && !classes_.empty()) {
      dataset.two_kinds_ = two_kinds(*numbered);
      classes_.clear();
      for (auto& image : found_) image.label = {};
      numbered = nullptr;
    }
    for (auto& [name, label] : classes_) {
      label = std::ssize(dataset.classes_);
      dataset.classes_.push_back(name);
    }
    dataset.numbered_classes_ = numbered != nullptr;
    for (int64_t i = 0; numbered != nullptr && i <= numbered->label.number; ++i) {
      dataset.classes_.push_back(std::to_string(i));
    }
    dataset.entries_.reserve(found_.size());
    for (auto& [entry, label, in_folders] : found_) {
      entry.label = label.is_name() ? classes_.at(label.name) : label.number;
      dataset.entries_.push_back(std::move(entry));
    }
    return dataset;
  }

 private:
  struct Found {
    Entry entry;
    Label label;
    bool in_folders = false;  ///< its class is the folder it lies in; without a label it lies loose
  };

  void add(Entry entry, Label label, bool in_folders) {
    entry.source = source_;
    found_.push_back({std::move(entry), std::move(label), in_folders});
  }

  void add_path(const std::string& name) {
    const fs::path path = name;
    require(fs::exists(path),
            "{}: expected a folder, a list, a tar archive or an image, got nothing there; check the path{}", name,
            name.find_first_of("*?") == std::string::npos ? "" : ", and write a pattern as 'x-{000..012}.tar'");
    if (fs::is_directory(path)) {
      add_folder(name);
    } else if (is_named_tar(path) || is_tar(path)) {  // an empty archive has no header to be told by
      add_archive(path);
    } else if (is_list_file(path)) {
      const std::string folder = path.parent_path().string();
      for (auto& [image, label] : read_list_file(path)) {
        add({.path = image.starts_with('/') ? image : joined(folder, image)}, std::move(label), false);
      }
    } else {
      require(starts_like_image(path),
              "{}: expected a folder of images, a tar archive (not compressed), a list (.txt, .tsv, .csv or .lst), or "
              "a JPEG, PNG, WebP, GIF or BMP image, got another file",
              name);
      add({.path = name}, {}, true);
    }
  }

  void add_folder(const std::string& name) {
    std::vector<fs::path> above;
    Below below;
    list(name, "", above, below);
    std::ranges::sort(below.archives);
    require(below.images.empty() || below.archives.empty(),
            "{}: expected images or tar archives, got both, such as '{}' and '{}'; give the archives by their own "
            "--data",
            name, below.images.empty() ? "" : below.images.front(),
            below.archives.empty() ? "" : below.archives.front());
    for (const auto& path : below.images)
      add({.path = joined(name, path)}, {.name = std::string(folder_name(path))}, true);
    std::map<std::string, std::pair<int64_t, std::set<int64_t>>> sets;  // by name: how many shards, and which are here
    for (const auto& archive : below.archives) {
      const auto index = add_archive(joined(name, archive));
      if (!index) continue;
      auto& [shards, here] = sets[index->name];
      require(here.empty() || shards == index->shards,
              "{}: expected one set of the name {}, got one of {} and one of {} "
              "shards; give each a folder of its own",
              name, index->name, shards, index->shards);
      shards = index->shards;
      here.insert(index->shard);
    }
    for (const auto& [set, shards] : sets) {
      int64_t missing = 0;
      while (shards.second.contains(missing)) ++missing;
      require(
          missing == shards.first,
          "{}: expected all {} shards of the set {}, got {}, without number {} or its index; fetch the others or pack "
          "again, or give those that are wanted by a pattern",
          name, shards.first, set, shards.second.size(), missing);
    }
  }

  std::optional<ShardIndex> add_archive(const fs::path& path) {
    const auto archive = std::make_shared<const TarFile>(path);
    const auto number = static_cast<int32_t>(archives_.size());
    archives_.push_back(archive);
    const auto add_image = [&](ShardImage&& image, bool in_folders) {
      const auto inner = without_dot_slash(image.name);
      if (in_folders) image.label.name = folder_name(inner);
      add({.path = joined(path.string(), inner),
           .archive = number,
           .offset = image.offset,
           .size = image.size,
           .crc32 = image.crc32},
          std::move(image.label), in_folders);
    };
    if (const auto beside = index_path(path); fs::exists(beside)) {
      auto index = read_shard_index(beside, archive->bytes());
      require_same_shard(*archive, index);
      for (auto& image : index.images) add_image(std::move(image), false);
      // Classes without an image in these shards too: part of a set has the whole set's numbers.
      for (const auto& name : index.classes.value_or(std::vector<std::string>())) classes_.emplace(name, 0);
      index.images.clear();
      return index;
    }
    auto [images, labelled] = list_shard(*archive);
    for (auto& image : images) add_image(std::move(image), !labelled);
    return std::nullopt;
  }

  void require_one_kind_of_place(const std::string& source, size_t first) const {
    const Found *loose = nullptr, *inner = nullptr;
    for (size_t i = first; i < found_.size(); ++i) {
      if (found_[i].in_folders) (found_[i].label.is_name() ? inner : loose) = &found_[i];
    }
    if (loose == nullptr || inner == nullptr) return;
    fail("{}: expected images either all in class folders or all loose, got '{}' and '{}'; move the loose ones", source,
         inner->entry.path, loose->entry.path);
  }

  std::string two_kinds(const Found& numbered) const {
    const auto named = std::ranges::find_if(found_, [](const Found& image) { return image.label.is_name(); });
    return fmt::format(
        "data: expected classes all by name or all by number, got '{}'{} and {} of {}; bring the sources to one kind",
        classes_.begin()->first, named == found_.end() ? "" : " of " + named->entry.path, numbered.label.number,
        numbered.entry.path);
  }

  std::vector<Found> found_;
  std::vector<std::shared_ptr<const TarFile>> archives_;
  std::map<std::string, int64_t> classes_;  // names
  int32_t source_ = 0;
};

Dataset Dataset::open(std::span<const fs::path> sources) {
  require(!sources.empty(),
          "data: expected at least one folder, list, tar archive or image, got none; give --data PATH");
  Listing listing;
  for (const auto& source : sources) {
    try {
      listing.add_source(source);
    } catch (const fs::filesystem_error& error) {
      fail("{}: expected a readable source, got: {} ({})", source.string(), error.code().message(),
           error.path1().string());
    }
  }
  return std::move(listing).dataset();
}

const std::vector<std::string>& Dataset::classes() const {
  require(two_kinds_.empty(), "{}", two_kinds_);
  return classes_;
}

bool Dataset::holds(const fs::path& file) const {
  std::error_code none;
  if (!fs::exists(file, none)) return false;
  const auto is_file = [&](const fs::path& path) { return fs::equivalent(path, file, none); };
  const std::string name = fs::canonical(file, none).filename().string();
  return std::ranges::any_of(archives_, [&](const auto& archive) { return is_file(archive->name()); }) ||
         std::ranges::any_of(entries_, [&](const Entry& image) {
           return image.archive < 0 && (image.path.ends_with(name) || fs::is_symlink(image.path, none)) &&
                  is_file(image.path);
         });
}

int64_t Dataset::bytes(int64_t index) const {
  const Entry& image = entry(index);
  if (image.archive >= 0) return image.size;
  std::error_code gone;
  const auto size = fs::file_size(image.path, gone);
  return gone ? 0 : static_cast<int64_t>(size);
}

std::vector<uint8_t> Dataset::read(int64_t index) const {
  const Entry& image = entries_.at(static_cast<size_t>(index));
  if (image.archive < 0) return read_image_file(image.path);
  require(image.size <= kLargestFile, "{}: expected an image file, got {} bytes", image.path, image.size);
  auto bytes = archives_[static_cast<size_t>(image.archive)]->read(image.offset, image.size);
  const uint32_t got = image.crc32 ? crc32(bytes) : 0;
  require(got == image.crc32.value_or(0),
          "{}: expected bytes of the checksum {:08x} at offset {}, got {:08x}; the archive is damaged, fetch it again",
          image.path, image.crc32.value_or(0), image.offset, got);
  return bytes;
}

void Dataset::prefetch(int64_t index) const {
  const Entry& image = entries_.at(static_cast<size_t>(index));
  if (image.archive >= 0) archives_[static_cast<size_t>(image.archive)]->prefetch(image.offset, image.size);
}

}  // namespace beit
