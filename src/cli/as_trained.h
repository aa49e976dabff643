// Options that a command takes from the training of its network, where nobody says otherwise.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/option.h"

namespace beit {

/// Sets those of `options` that are not among `given` from `config`, the JSON of the options that trained the network
/// `where`, and logs them. Nothing where there is no such text.
void take_as_trained(OptionList options, const std::vector<std::string>& given, std::string_view config,
                     std::string_view where);

}  // namespace beit
