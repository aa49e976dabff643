// A file of the source tree that the program carries in itself (cmake/ShippedFiles.cmake).
#pragma once

#include <string>
#include <string_view>

namespace beit {

/// As it was when the program was built.
struct ShippedFile {
  std::string name;  ///< without folder, and but for files of web/ without suffix
  std::string_view text;
  std::string_view sha256;  ///< of the text, 64 hexadecimal digits
};

}  // namespace beit
