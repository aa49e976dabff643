// From options to networks, and from files of ours to networks ready for use.
#pragma once

#include <filesystem>
#include <string>

#include "base/config.h"
#include "core/mim.h"
#include "core/tokenizer.h"
#include "io/safetensors.h"

namespace beit {

/// The decoder is as wide as the encoder. Options are resolved here.
TokenizerOptions tokenizer_options(const ModelOptions& model, const CodebookOptions& codebook, int64_t target_width);
MimOptions mim_options(const ModelOptions& model, const MimChoice& choice, int64_t codes);

/// What a file holds: "a tokenizer", "a pre-trained model", ...; by its metadata, else by its tensors' names.
std::string content(const TensorFile& file);

struct LoadedTokenizer {
  Tokenizer model = nullptr;  ///< in eval(), on the CPU
  ModelOptions options;       ///< resolved
  CodebookOptions codebook;
};

/// From a file of `beit vqkd`, or its run folder. Error where the file holds something else.
LoadedTokenizer load_tokenizer(const std::filesystem::path& path);

struct LoadedBackbone {
  ViT model = nullptr;   ///< in eval(), on the CPU
  ModelOptions options;  ///< resolved
  InputForm input = InputForm::kImagenetNorm;
};

/// The backbone of a pre-trained model, or the encoder of a tokenizer; file or run folder. Error for anything else.
LoadedBackbone load_backbone(const std::filesystem::path& path);

/// The backbone of a pre-training model at its initial values, drawn from LibTorch's generator.
LoadedBackbone random_backbone(const ModelOptions& model, const MimChoice& choice);

}  // namespace beit
