// A network in the form that other programs read.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "train/network_file.h"

namespace beit {

/// What goes into files.
struct Exported {
  TensorMap tensors;
  std::map<std::string, std::string> metadata = {};
  std::string config_json = {};            ///< of a folder's config.json; none: the tensors stand in one file
  std::vector<std::string> left_out = {};  ///< what that form has no place for
};

/// Our own form: the published names, and the configuration in the metadata.
Exported export_own(const NetworkFile& file);

/// What the published code loads: its names, with the `relative_position_index` buffers that it keeps in its files.
Exported export_reference(const NetworkFile& file);

/// What timm.create_model("local-dir:FOLDER", pretrained=True) reads: its class Beit, under the published names. A
/// pre-trained model becomes one without classes; `mask_token`, `lm_head` and the CLS branch have no place there.
/// Error for a tokenizer, a segmentation model, and a backbone without final norm.
Exported export_timm(const NetworkFile& file);

/// What transformers' from_pretrained(FOLDER) reads: BeitForMaskedImageModeling, BeitForImageClassification or
/// BeitModel. The CLS branch has no place there. Error for a tokenizer, a segmentation model, a backbone without final
/// norm, and a pre-trained model with mean pooling.
Exported export_hugging_face(const NetworkFile& file);

/// Floating-point tensors in float16. Error that names file and tensor where values are out of its range.
void halve(NetworkFile& file);

}  // namespace beit
