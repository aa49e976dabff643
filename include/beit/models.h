// The networks, alone and out of files: load_tokenizer() and load_backbone() read what the program `beit` wrote.
#pragma once

#include "core/classifier.h"
#include "core/mim.h"
#include "core/probe.h"
#include "core/teacher.h"
#include "core/tokenizer.h"
#include "core/vit.h"
#include "core/weights_regrid.h"
#include "io/weights.h"
#include "train/models.h"
