#include "base/version.h"

namespace beit {

std::string_view version() { return BEIT_VERSION; }

}  // namespace beit
