#include "data/dataset.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>

#include "base/error.h"
#include "data/image.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEndings = ".jpg, .jpeg, .png, .webp, .gif or .bmp";
constexpr int64_t kLargestFile = int64_t{1} << 30;  // bytes; no image of kMostPixels is larger

// Paths and archive members alike: slashes between names.
bool looks_like_image(std::string_view path) {
  const auto name = path.substr(path.rfind('/') + 1);
  const auto dot = name.rfind('.');
  if (name.starts_with('.') || dot == std::string_view::npos) return false;
  std::string ending(name.substr(dot));
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending == ".jpg" || ending == ".jpeg" || ending == ".png" || ending == ".webp" || ending == ".gif" ||
         ending == ".bmp";
}

// The innermost folder's name; empty where there is none.
std::string folder_of(std::string_view relative_path) {
  const auto last = relative_path.rfind('/');
  if (last == std::string_view::npos) return {};
  const auto folders = relative_path.substr(0, last);
  return std::string(folders.substr(folders.rfind('/') + 1));
}

// Adds the paths below `folder`, relative to the source. `above` are the folders that lead here: a link back to one of
// them would never end.
void list_images(const fs::path& folder, const std::string& prefix, std::vector<fs::path>& above,
                 std::vector<std::string>& found) {
  above.push_back(fs::canonical(folder));
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    std::error_code ignored;
    if (entry.is_directory(ignored)) {
      const auto real = fs::canonical(entry.path());
      if (name.starts_with('.') || std::find(above.begin(), above.end(), real) != above.end()) continue;
      list_images(entry.path(), prefix + name + '/', above, found);
    } else if (looks_like_image(name) && !entry.is_other(ignored)) {
      found.push_back(prefix + name);
    }
  }
  above.pop_back();
}

std::vector<uint8_t> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const int64_t size = file ? static_cast<int64_t>(file.tellg()) : -1;
  require(size >= 0 && size <= kLargestFile,
          "{}: expected a readable image file, got {}; check that it exists and its rights", path,
          size < 0 ? "none" : fmt::format("{} bytes", size));
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  file.seekg(0);
  require(size == 0 || file.read(reinterpret_cast<char*>(bytes.data()), size),
          "{}: expected {} bytes, got a read error", path, size);
  return bytes;
}

bool starts_like_image(const fs::path& path) {
  std::array<char, 16> start{};
  std::ifstream(path, std::ios::binary).read(start.data(), start.size());
  return image_format({reinterpret_cast<const uint8_t*>(start.data()), start.size()}) != ImageFormat::kUnknown;
}

}  // namespace

std::vector<Dataset::Found> Dataset::list_source(const fs::path& source) {
  const std::string name = source.string();
  std::vector<Found> found;
  const auto add = [&](std::string_view relative_path, Entry entry) {
    entry.path = name + (name.ends_with('/') ? "" : "/") + std::string(relative_path);
    found.push_back({std::move(entry), folder_of(relative_path)});
  };

  require(fs::exists(source), "{}: expected a folder, a tar archive or an image, got nothing there; check the path",
          name);
  if (fs::is_directory(source)) {
    std::vector<fs::path> above;
    std::vector<std::string> paths;
    list_images(source, "", above, paths);
    for (const auto& path : paths) add(path, {});
  } else if (is_tar(source)) {
    const auto archive = std::make_shared<const TarFile>(source);
    for (const auto& member : archive->members()) {
      std::string_view path = member.name;
      while (path.starts_with("./")) path.remove_prefix(2);
      if (looks_like_image(path)) add(path, {.archive = archive, .offset = member.offset, .size = member.size});
    }
  } else {
    require(starts_like_image(source),
            "{}: expected a folder of images, a tar archive (not compressed), or a JPEG, PNG, WebP, GIF or BMP image, "
            "got another file",
            name);
    found.push_back({{.path = name}, ""});
  }

  require(!found.empty(), "{}: expected images (ending {}), got none; give another path", name, kEndings);
  const auto is_loose = [](const Found& image) { return image.folder.empty(); };
  const auto loose = std::find_if(found.begin(), found.end(), is_loose);
  const auto inner = std::find_if_not(found.begin(), found.end(), is_loose);
  if (loose != found.end() && inner != found.end()) {
    fail("{}: expected images either all in class folders or all loose, got '{}' and '{}'; move the loose ones", name,
         inner->entry.path, loose->entry.path);
  }
  return found;
}

Dataset Dataset::open(std::span<const fs::path> sources) {
  require(!sources.empty(), "data: expected at least one folder, tar archive or image, got none; give --data PATH");
  std::vector<Found> images;
  for (const auto& source : sources) {
    try {
      std::ranges::move(list_source(source), std::back_inserter(images));
    } catch (const fs::filesystem_error& error) {
      fail("{}: expected a readable source, got: {} ({})", source.string(), error.code().message(),
           error.path1().string());
    }
  }
  std::ranges::stable_sort(images, {}, [](const Found& image) -> const std::string& { return image.entry.path; });

  Dataset dataset;
  std::map<std::string, int64_t> labels;
  for (const auto& image : images) {
    if (!image.folder.empty()) labels.emplace(image.folder, 0);
  }
  for (auto& [name, label] : labels) {
    label = std::ssize(dataset.classes_);
    dataset.classes_.push_back(name);
  }
  for (auto& [entry, folder] : images) {
    if (!folder.empty()) entry.label = labels.at(folder);
    dataset.entries_.push_back(std::move(entry));
  }
  return dataset;
}

int64_t Dataset::bytes(int64_t index) const {
  const Entry& entry = entries_.at(static_cast<size_t>(index));
  if (entry.archive) return entry.size;
  std::error_code gone;
  const auto size = fs::file_size(entry.path, gone);
  return gone ? 0 : static_cast<int64_t>(size);
}

std::vector<uint8_t> Dataset::read(int64_t index) const {
  const Entry& entry = entries_.at(static_cast<size_t>(index));
  if (!entry.archive) return read_file(entry.path);
  require(entry.size <= kLargestFile, "{}: expected an image file, got {} bytes", entry.path, entry.size);
  return entry.archive->read(entry.offset, entry.size);
}

}  // namespace beit
