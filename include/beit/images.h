// Images: files to pixels, pixels to what a network sees, batches in the background.
#pragma once

#include "data/augment.h"
#include "data/dataset.h"
#include "data/image.h"
#include "data/loader.h"
#include "data/mask.h"
#include "data/views.h"
