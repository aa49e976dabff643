#include "data/path_pattern.h"

#include <doctest/doctest.h>

#include "tests/data/samples.h"

using namespace beit;
using Paths = std::vector<std::string>;

TEST_CASE("pattern: ranges keep their width, choices their order, several braces multiply") {
  CHECK(expand_pattern("plain.tar") == Paths{"plain.tar"});
  CHECK(expand_pattern("a-{008..011}.tar") == Paths{"a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar"});
  CHECK(expand_pattern("{9..11}") == Paths{"9", "10", "11"});
  CHECK(expand_pattern("{0..1}") == Paths{"0", "1"});
  CHECK(expand_pattern("x/{train,val}-{0..1}.tar") ==
        Paths{"x/train-0.tar", "x/train-1.tar", "x/val-0.tar", "x/val-1.tar"});
  CHECK(expand_pattern("a{,b}") == Paths{"a", "ab"});
  CHECK(expand_pattern("{5..5}") == Paths{"5"});
}

TEST_CASE("pattern: what is no pattern is refused by name") {
  for (const char* text : {"a{", "a{}", "a{b}", "a{1..}", "a{..2}", "a{2..1}", "a{a..c}", "a{1..2..3}", "a{-1..1}",
                           "a{0..1000000}", "{0..99999999999999999999}", "{0..999}{0..999}{0..1}"}) {
    CAPTURE(text);
    CHECK(error_of([&] { expand_pattern(text); }).starts_with(std::string(text) + ": expected"));
  }
  CHECK(expand_pattern("{0..999}{0..999}").size() == 1'000'000);
}
