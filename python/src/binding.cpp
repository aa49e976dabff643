#include "binding.h"

namespace beit {

LoadOptions load_options(std::optional<int64_t> image_size, std::optional<int64_t> heads,
                         const std::optional<std::string>& input_form) {
  LoadOptions options{.image_size = image_size.value_or(0), .heads = heads.value_or(0)};
  const OptionList described = describe(options);
  check_ranges(described, "load");
  if (input_form) set(pick(described, {"input-form"}).front(), {*input_form}, "load: input_form");
  return options;
}

}  // namespace beit
