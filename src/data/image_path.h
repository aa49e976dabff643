// What a path tells of an image, on disk and in archives alike: slashes stand between names.
#pragma once

#include <string>
#include <string_view>

namespace beit {

/// For messages.
inline constexpr const char* kImageEndings = ".jpg, .jpeg, .png, .webp, .gif or .bmp";

/// Whether an ending, without its dot and in small letters, is one of these.
bool is_image_ending(std::string_view ending);

/// Whether a last name ends in one of these, in any case. Looks at its last letters only.
bool has_image_ending(std::string_view name);

/// Whether the last name ends as an image's, in any case, and does not start with a dot.
bool is_image_path(std::string_view path);

/// What follows the last slash.
std::string_view base_name(std::string_view path);

/// Without the "./", one or several, that archives may put before a member's name.
std::string_view without_dot_slash(std::string_view path);

/// The name of the innermost folder; empty where there is none.
std::string_view folder_name(std::string_view path);

/// Of ASCII letters.
std::string lower_case(std::string_view text);

}  // namespace beit
