// Small networks with random weights, in files as the commands write them.
#pragma once

#include <torch/torch.h>

#include <filesystem>

#include "base/config.h"
#include "cli/run_config.h"
#include "io/weights.h"
#include "train/models.h"

namespace beit {

inline const ModelOptions kSmallModel{
    .model = "tiny", .width = 16, .depth = 2, .heads = 2, .image_size = 32, .patch_size = 8};
inline constexpr int64_t kSmallCodes = 16, kSmallTarget = 6;

/// `command` is what the metadata claim.
inline Tokenizer write_small_tokenizer(const std::filesystem::path& path, const std::string& command = "vqkd") {
  torch::manual_seed(7);
  ModelOptions model = kSmallModel;
  CodebookOptions codebook{.codes = kSmallCodes, .code_dim = 4, .kmeans_start = false, .decoder_depth = 1};
  Tokenizer tokenizer(tokenizer_options(model, codebook, kSmallTarget));
  write_safetensors(path, state_dict(*tokenizer),
                    config_metadata(command, join({describe(model), describe(codebook)})));
  tokenizer->eval();
  return tokenizer;
}

/// Of the codes of write_small_tokenizer(); `place` is where the file says that is.
inline PixelDecoder write_small_decoder(const std::filesystem::path& path, const Tokenizer& tokenizer,
                                        const std::filesystem::path& place = {}) {
  torch::manual_seed(11);
  DecoderChoice choice{.tokenizer = place.string(), .width = 16, .depth = 2, .heads = 2};
  const CodebookOptions codebook{.codes = kSmallCodes, .code_dim = 4};
  PixelDecoder decoder(pixel_decoder_options(choice, kSmallModel, codebook));
  decoder->set_codebook(state_dict(*tokenizer).at("quantize.embedding.weight"));
  auto metadata = config_metadata("decode", describe(choice));
  metadata["tokenizer"] = tokenizer_identity(tokenizer);
  write_safetensors(path, state_dict(*decoder), metadata);
  decoder->eval();
  return decoder;
}

inline MaskedImageModel write_small_pretrained(const std::filesystem::path& path) {
  torch::manual_seed(8);
  ModelOptions model = kSmallModel;
  MimChoice choice{.early_layers = 1, .head_layers = 1};
  MaskedImageModel mim(mim_options(model, choice, kSmallCodes));
  write_safetensors(path, state_dict(*mim), config_metadata("pretrain", join({describe(model), describe(choice)})));
  mim->eval();
  return mim;
}

}  // namespace beit
