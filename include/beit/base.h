// What all else rests on: the error that every function throws, the log, which is silent until set_up_log(), and the
// version.
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "base/version.h"
