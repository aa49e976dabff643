// JSON of a foreign file, as far as the readers of this level need it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "io/allowance.h"

namespace beit {

/// The object that `text` states, which begins at `offset` of the file; errors start with
/// `where` and end with `remedy`. Refuses while reading what would cost memory or hide a value: more than `levels` of
/// nesting, a key that comes twice in its object, more than the allowance. Error: that, other JSON than an object, no
/// JSON.
nlohmann::json read_json_object(std::string_view text, uint64_t offset, int levels, const std::string& where,
                                std::string_view remedy, Allowance& allowance);

}  // namespace beit
