// Options that are given several times, each time with a number.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/option.h"

namespace beit {

/// The words as numbers. Error, which names the option, for one that is none or out of range.
std::vector<double> numbers(const std::vector<std::string>& words, std::string_view name, const Range& range);
std::vector<int64_t> whole_numbers(const std::vector<std::string>& words, std::string_view name, const Range& range);

}  // namespace beit
