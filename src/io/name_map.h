// Names of parameters: those of the published code, which are ours, and those of other libraries.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"

namespace beit {

/// A file's network under the names of the published code: of BEiT v2 (also timm's names), of OpenAI's CLIP
/// (`visual.*`), or left as they are.
struct NamedNetwork {
  TensorMap tensors;
  std::vector<std::string> order;     ///< their names as the file lists them
  std::string form;                   ///< whose names the file has, for people
  std::vector<std::string> left_out;  ///< what of the file is no part of the network: "optimizer.* (300 tensors)"
};

/// Finds the network in a file and renames it. Files nest it under `model`, `module` or `state_dict`, one in another;
/// of a file with `teacher` and `student` the teacher is meant. Hugging Face's BeitModel and BeitFor* (query, key and
/// value are joined; a segmentation's heads are left out) and CLIPVisionModel* and CLIPModel (their image tower) are
/// recognised by their names. A tokenizer's teacher and scaling entries and buffers `relative_position_index` are left
/// out. Error, which starts with `where`: a network with half of its names, parts that do not fit together.
NamedNetwork reference_names(const TensorFile& file, std::string_view where);

/// BEiT v2 under Hugging Face's names, query, key and value apart: `model_prefix` stands before all but the heads'
/// ("beit." where there may be a head, else nothing), `norm.*` becomes `<norm_prefix>*`. Error for a tensor that has no
/// place there.
TensorMap hugging_face_names(const TensorMap& tensors, std::string_view model_prefix, std::string_view norm_prefix);

}  // namespace beit
