// The images that --data and --val-data name, and files that must not be written over them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/config.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/sampler.h"

namespace beit {

/// Error that names the flag where there are no paths, else as Dataset::open().
Dataset open_images(const std::vector<std::string>& paths, std::string_view flag);

/// One image: a file, or a source that holds one. Error as above, and where there are more.
Dataset open_one_image(const std::string& path, std::string_view flag);

/// The same of images that all have a class. Error that names the first without.
Dataset open_classes(const std::vector<std::string>& paths, std::string_view flag);

/// Error unless there are two classes at least.
void require_classes(const Dataset& images, std::string_view flag);

/// What a loader of training does. Error as sampler_options().
LoaderOptions training_loading(const DataOptions& data, int64_t batch_size, uint64_t seed, bool pin_memory = false,
                               int64_t rank = 0, int64_t ranks = 1);

/// The order that --shuffle, --shuffle-window and --data-weight ask for. Error unless there are no weights or one
/// positive number for each --data.
SamplerOptions sampler_options(const DataOptions& data, uint64_t seed);

/// The pixels as the bytes of a PNG file.
std::string png_bytes(const torch::Tensor& pixels_HWC);

/// Error where --output names a file that is also read: the file `weights` or anything in the folder `weights`, or one
/// of `data`.
void require_apart(const std::filesystem::path& output, const std::filesystem::path& weights,
                   const std::vector<std::string>& data);

/// Error where --output names a file that an image lies in, or an image.
void require_unread(const std::filesystem::path& output, const Dataset& images);

/// Error where a folder to write to is one of `data` or lies in one: what is written there would be read next time.
void require_folder_apart(const std::filesystem::path& output, const std::vector<std::string>& data);

}  // namespace beit
