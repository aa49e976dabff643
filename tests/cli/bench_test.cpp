#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/cli/started.h"

namespace beit {
namespace {

TEST_CASE("bench: prints one JSON object with the time and memory of a step") {
  struct Timed {
    std::vector<std::string> words;
    int64_t batch;
  };
  for (const auto& [words, batch] :
       {Timed{{"small", "--batch", "2"}, 2}, Timed{{"quantizer", "--batch", "1", "--codes", "64"}, 1}}) {
    std::vector<std::string> all{"bench"};
    all.insert(all.end(), words.begin(), words.end());
    all.insert(all.end(), {"--steps", "2", "--threads", "1"});
    const auto ended = start(all);
    CAPTURE(ended.err);
    REQUIRE(ended.code == 0);
    CHECK(std::ranges::count(ended.out, '\n') == 1);
    const auto line = nlohmann::json::parse(ended.out);
    CHECK(line.at("case") == words[0]);
    CHECK(line.at("attention") == "fused");
    CHECK(line.at("compile") == false);
    CHECK(line.at("bf16") == false);
    CHECK(line.at("batch") == batch);
    CHECK(line.at("threads") == 1);
    const double median_s = line.at("median_s"), min_s = line.at("min_s"), images_per_s = line.at("images_per_s");
    CHECK(min_s > 0);
    CHECK(median_s >= min_s);
    CHECK(images_per_s * median_s == doctest::Approx(static_cast<double>(batch)));
    CHECK(line.at("start_mib") > 0);
    CHECK(line.at("peak_mib") >= line.at("start_mib"));
    CHECK(line.value("codes", 0) == (words[0] == "quantizer" ? 64 : 0));
  }
}

TEST_CASE("bench: a case that is not there, sizes out of range and options without effect are one line") {
  const auto refused = [](std::vector<std::string> words, const std::string& message) {
    words.insert(words.begin(), "bench");
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused({}, "bench: expected a case, got none; they are mim,");
  refused({"larg"}, "bench: expected a case, got 'larg'; they are mim,");
  refused({"small", "--batch", "0"}, "--batch");
  refused({"small", "--steps", "0"}, "--steps");
  refused({"small", "--codes", "64"},
          "expected options of small (batch, precision, steps, device, threads), got --codes");
  refused({"tokenize", "--image-size", "100"}, "100");
  refused({"open"}, "set --weights FILE");
  refused({"open", "--weights", "/none"}, "/none");
}

}  // namespace
}  // namespace beit
