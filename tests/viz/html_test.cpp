#include "viz/html.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "viz/web_files.h"

namespace beit {
namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_CASE("html: base64 is that of RFC 4648") {
  CHECK(base64("").empty());
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64(std::string_view("\xff\xfe\x00", 3)) == "//4A");
}

TEST_CASE("html: a picture's kind is what its bytes say") {
  CHECK(data_uri("\xff\xd8\xff") == "data:image/jpeg;base64,/9j/");
  CHECK(data_uri("\x89PNG\r\n").starts_with("data:image/png;base64,"));
  CHECK(data_uri(std::string("RIFF\0\0\0\0WEBP", 12)).starts_with("data:image/webp;base64,"));
  CHECK_THROWS_WITH_AS(data_uri("<svg>"), doctest::Contains("expected the bytes of a JPEG, PNG or WebP"), Error);
  const auto html = picture_html({"\x89PNG", 2, 3}, "\"><script>alert(1)</script>");
  CHECK(contains(html, "width=\"3\" height=\"2\""));
  CHECK(!contains(html, "<script"));
}

TEST_CASE("html: no text in data ends its element, and data come back as they were") {
  const std::string hostile = "</script><!-- <script> & \"'\\ \xff";
  const auto html = data_html("a-0", {{"name", hostile}});
  const std::string begin = "<script type=\"application/json\" id=\"a-0\">", end = "</script>\n";
  REQUIRE(html.starts_with(begin));
  REQUIRE(html.ends_with(end));
  const auto text = html.substr(begin.size(), html.size() - begin.size() - end.size());
  for (const char* mark : {"<", ">", "&"}) CHECK(!contains(text, mark));
  CHECK(nlohmann::json::parse(text)["name"] == "</script><!-- <script> & \"'\\ \xef\xbf\xbd");
}

TEST_CASE("html: a page lets its own scripts run and nothing else") {
  const auto page =
      html_page({.title = "a <b>", .styles = {"report.css"}, .scripts = {"patch_map.js"}, .body = "<p>x</p>"});
  CHECK(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
  CHECK(contains(page, "<title>a &lt;b&gt;</title>"));
  CHECK(contains(page, "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-"));
  CHECK(contains(page, "<script>" + std::string(web_file("patch_map.js").text) + "</script>"));
  CHECK(!contains(page, "http://"));
  CHECK(!contains(page, "https://"));
  CHECK(contains(html_page({.title = "", .styles = {}, .scripts = {}, .body = ""}), "script-src 'none'"));
  CHECK(web_file("report.css").sha256.size() == 64);
  CHECK_THROWS_WITH_AS(web_file("other.js"), doctest::Contains("got 'other.js'"), Error);
}

}  // namespace
}  // namespace beit
