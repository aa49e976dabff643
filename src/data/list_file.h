// A text file that lists images and their classes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/label.h"

namespace beit {

struct ListedImage {
  std::string path;  ///< relative to the list's folder, or absolute
  Label label;
};

/// Whether the name ends as a list's: .txt, .tsv, .csv or .lst, in any case.
bool is_list_file(const std::filesystem::path& path);

/// One image a line: its path, which ends as an image's; then, where it has a class, a tab, a comma or a space, and the
/// class: a number from 0 or a name (which may hold spaces), of one kind in the whole file; -1 is no class. Empty lines
/// are passed over, and so is a first line `path` or `path` and `label`. The images need not exist.
/// Error, naming the line, for any other line and for a path that comes twice; Error where the file cannot be read.
std::vector<ListedImage> read_list_file(const std::filesystem::path& path);

}  // namespace beit
