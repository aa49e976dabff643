#include "viz/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "viz/web_files.h"
#include "viz/xml_text.h"

namespace beit {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes of hexadecimal digits.
std::string bytes_of_hex(std::string_view digits) {
  const auto value = [](char digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; };
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2)
    bytes += static_cast<char>(value(digits[i]) * 16 + value(digits[i + 1]));
  return bytes;
}

}  // namespace

std::string base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    std::array<uint32_t, 3> three{};
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < count; ++k) three[k] = static_cast<uint8_t>(bytes[i + k]);
    const uint32_t bits = three[0] << 16U | three[1] << 8U | three[2];
    for (size_t k = 0; k < 4; ++k) text += k <= count ? kLetters[bits >> (18 - 6 * k) & 63U] : '=';
  }
  return text;
}

std::string data_uri(std::string_view picture_bytes) {
  const bool is_webp = picture_bytes.starts_with("RIFF") && picture_bytes.substr(0, 12).ends_with("WEBP");
  const std::string_view kind = picture_bytes.starts_with("\xff\xd8")  ? "jpeg"
                                : picture_bytes.starts_with("\x89PNG") ? "png"
                                : is_webp                              ? "webp"
                                                                       : "";
  require(!kind.empty(), "html: expected the bytes of a JPEG, PNG or WebP picture, got {} others",
          picture_bytes.size());
  return fmt::format("data:image/{};base64,{}", kind, base64(picture_bytes));
}

std::string picture_html(const EncodedPicture& picture, const std::string& alt) {
  return fmt::format(R"(<img width="{}" height="{}" alt="{}" src="{}">)", picture.width, picture.height, xml_text(alt),
                     data_uri(picture.bytes));
}

std::string data_html(std::string_view id, const nlohmann::ordered_json& data) {
  std::string text = fmt::format("<script type=\"application/json\" id=\"{}\">", id);
  for (const char letter : data.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)) {
    switch (letter) {  // they stand in texts alone
      case '<': text += "\\u003c"; break;
      case '>': text += "\\u003e"; break;
      case '&': text += "\\u0026"; break;
      default: text += letter;
    }
  }
  return text + "</script>\n";
}

std::string html_page(const HtmlPage& page) {
  std::string styles, scripts, hashes;
  for (const std::string_view name : page.styles) styles += fmt::format("<style>\n{}</style>\n", web_file(name).text);
  for (const std::string_view name : page.scripts) {
    const ShippedFile& file = web_file(name);
    hashes += fmt::format(" 'sha256-{}'", base64(bytes_of_hex(file.sha256)));
    scripts += fmt::format("<script>{}</script>\n", file.text);  // the hash is that of all between the tags
  }
  if (hashes.empty()) hashes = " 'none'";
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'; script-src{}; base-uri 'none'; form-action 'none'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n"
      "<title>{}</title>\n{}</head>\n<body>\n{}{}</body>\n</html>\n",
      hashes, xml_text(page.title), styles, page.body, scripts);
}

}  // namespace beit
