// Pages that stand alone: style, script, pictures and data are inside, nothing is fetched. Text in them goes through
// xml_text() (viz/xml_text.h).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace beit {

/// A picture as its file's bytes: JPEG, PNG or WebP.
struct EncodedPicture {
  std::string bytes;
  int64_t height = 0, width = 0;  ///< pixels
};

/// RFC 4648, with padding, on one line.
std::string base64(std::string_view bytes);

/// `data:image/jpeg;base64,...`; the kind is what the first bytes say. Error for another kind than those above.
std::string data_uri(std::string_view picture_bytes);

/// An `img` element of the picture's size. `alt` is what it shows, for those who do not see it; may be empty where the
/// text beside it says so.
std::string picture_html(const EncodedPicture& picture, const std::string& alt);

/// A `script` element that holds data and is not run; `id` of letters, digits and hyphens. Whatever texts stand in it,
/// they do not end it: `<`, `>` and `&` are written as JSON's escapes, what is not UTF-8 as U+FFFD.
std::string data_html(std::string_view id, const nlohmann::ordered_json& data);

struct HtmlPage {
  std::string title;                     ///< any text
  std::vector<std::string_view> styles;  ///< names of files of web/, in this order
  std::vector<std::string_view> scripts;
  std::string body;  ///< HTML
};

/// The document. Its content security policy lets only these scripts run and nothing be loaded from elsewhere.
std::string html_page(const HtmlPage& page);

}  // namespace beit
