// Images: files to pixels, pixels to what a network sees, batches in the background.
#pragma once

#include "beit/base.h"
#include "data/augment.h"
#include "data/dataset.h"
#include "data/image.h"
#include "data/label_map.h"
#include "data/label_maps.h"
#include "data/loader.h"
#include "data/mask.h"
#include "data/mixup.h"
#include "data/orientation.h"
#include "data/rand_augment.h"
#include "data/random_erasing.h"
#include "data/segmentation_views.h"
#include "data/views.h"
