// Which output of a classifier is which class: of the data, and of a list.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace beit {

/// Names of classes, one a line, in the file's order; blanks around them and empty lines at the end do not count.
/// Error, which names the line, for an empty line before others and for what is no text of at most 1000 bytes; Error
/// for a file that cannot be read, is larger than 64 MB or holds no name.
std::vector<std::string> read_class_names(const std::filesystem::path& path);

/// What the data's classes are to a classifier.
struct ClassMatch {
  std::vector<std::string> names = {};  ///< of the outputs; their numbers where nothing names them
  std::vector<int64_t> outputs = {};    ///< of each of the data's classes
  std::string by = {};                  ///< how they were found, for people
};

/// `classes` are the data's (Dataset::classes()), `names` those of the outputs, as many as `outputs`, or none. Classes
/// are found by name; where the model does not know all of these names and all are whole numbers (folders 0 to 999), by
/// number; where it has no names and as many outputs as there are classes, by their place in sorted order.
/// Error for a name that no output or several have, numbers beyond the outputs, and where nothing matches.
ClassMatch match_classes(const std::vector<std::string>& classes, const std::vector<std::string>& names,
                         int64_t outputs);

/// The outputs that a file lists, one a line, by name or by number from 0: ascending, each once. Error as
/// read_class_names(), for what is neither, for a name that several outputs have, and for fewer than two outputs.
std::vector<int64_t> read_subset(const std::filesystem::path& path, const std::vector<std::string>& names);

}  // namespace beit
