// ProcessGroupGloo.hpp includes this by name and uses nothing of it.
#pragma once
