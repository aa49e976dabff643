// The networks, alone and out of files: load_tokenizer(), load_backbone() and their like read our own files and
// published ones, save() writes them; train/export.h and train/onnx_export.h write what other programs read.
// evaluation_transform() makes of an image what a network is shown, normalise() what a backbone's first layer expects.
#pragma once

#include "beit/base.h"
#include "core/attentive_probe.h"
#include "core/classifier.h"
#include "core/confusion.h"
#include "core/image_quality.h"
#include "core/knn.h"
#include "core/linear_probe.h"
#include "core/linear_sweep.h"
#include "core/mim.h"
#include "core/normalise.h"
#include "core/pixel_decoder.h"
#include "core/probe.h"
#include "core/segmenter.h"
#include "core/teacher.h"
#include "core/tokenizer.h"
#include "core/vit.h"
#include "core/weights_regrid.h"
#include "core/window_scores.h"
#include "io/weights.h"
#include "train/evaluation.h"
#include "train/export.h"
#include "train/models.h"
#include "train/onnx_export.h"
