// Several paths in one, as shard sets are named: `train-{000..012}.tar`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace beit {

/// The paths that the text stands for, in its order. `{A..B}` are the whole numbers from A to B, of A's width where A
/// starts with a zero, and `{a,b}` the texts between its commas; of several braces, each with each. A text without
/// braces stands for itself. Error, naming the text, for braces that do not close or hold something else, and for more
/// than a million paths.
std::vector<std::string> expand_pattern(std::string_view text);

}  // namespace beit
