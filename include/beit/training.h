// Training as the program's commands do it.
#pragma once

#include "beit/base.h"
#include "train/backbone_start.h"
#include "train/decode.h"
#include "train/events.h"
#include "train/finetune.h"
#include "train/loop.h"
#include "train/optimizer.h"
#include "train/pretrain.h"
#include "train/run.h"
#include "train/schedule.h"
#include "train/segment.h"
#include "train/vqkd.h"
