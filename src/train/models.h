// From options to networks, from files to networks ready for use, and back to files.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/config.h"
#include "core/classifier.h"
#include "core/mim.h"
#include "core/pixel_decoder.h"
#include "core/segmenter.h"
#include "core/tokenizer.h"
#include "train/network_file.h"

namespace beit {

/// The decoder is as wide as the encoder. Options are resolved here.
TokenizerOptions tokenizer_options(const ModelOptions& model, const CodebookOptions& codebook, int64_t target_width);
MimOptions mim_options(const ModelOptions& model, const MimChoice& choice, int64_t codes);
/// The pyramid takes the blocks of the published recipe, or those at the same parts of the depth.
SegmenterOptions segmenter_options(const ViTOptions& backbone, const SegmenterChoice& choice, int64_t classes);

/// For the codes of a tokenizer with these options, on the grid that its image size gives. The choice is resolved here.
PixelDecoderOptions pixel_decoder_options(const DecoderChoice& choice, const ModelOptions& tokenizer,
                                          const CodebookOptions& codebook);

/// Tells tokenizers apart by the codes that they give: "8192 codes of width 32 (0123456789abcdef)", with a hash of
/// encoder, codebook and input form; without positions, so that it is the same at every image size.
std::string tokenizer_identity(const Tokenizer& tokenizer);

// Of files of ours and published ones (train/network_file.h). Networks come in eval(), on the CPU. The log says what
// was assumed, and warns of weights that are not finite. Error where a file holds another network, or a tensor is
// missing, unexpected or of another shape.

struct LoadedTokenizer {
  Tokenizer model = nullptr;
  ModelOptions options;  ///< resolved
  CodebookOptions codebook;
};
LoadedTokenizer load_tokenizer(const std::filesystem::path& path, const LoadOptions& options = {});

struct LoadedMim {
  MaskedImageModel model = nullptr;
  ModelOptions options;  ///< resolved
  MimChoice choice;      ///< resolved
  int64_t codes = 0;
  std::string tokenizer = {};  ///< tokenizer_identity() of the one that its codes are of; empty where the file has none
};
LoadedMim load_mim(const std::filesystem::path& path, const LoadOptions& options = {});

struct LoadedClassifier {
  Classifier model = nullptr;
  ModelOptions options;  ///< resolved
  int64_t classes = 0;
  std::vector<std::string> class_names = {};  ///< in the order of the logits; empty where the file has none
};
LoadedClassifier load_classifier(const std::filesystem::path& path, const LoadOptions& options = {});

struct LoadedSegmenter {
  Segmenter model = nullptr;
  ModelOptions options;    ///< resolved
  SegmenterChoice choice;  ///< resolved
  int64_t classes = 0;
  std::vector<std::string> class_names = {};  ///< as of LoadedClassifier
  std::string config = {};                    ///< JSON of the options that trained it; empty where the file has none
};
LoadedSegmenter load_segmenter(const std::filesystem::path& path, const LoadOptions& options = {});

struct LoadedPixelDecoder {
  PixelDecoder model = nullptr;
  DecoderChoice choice;        ///< resolved; its `tokenizer` is where that was in training
  std::string tokenizer = {};  ///< tokenizer_identity() of that; empty where the file has none
};
/// Of files of ours alone.
LoadedPixelDecoder load_pixel_decoder(const std::filesystem::path& path);

struct LoadedBackbone {
  ViT model = nullptr;
  ModelOptions options;  ///< resolved
  InputForm input = InputForm::kImagenetNorm;
  bool has_norm = true;  ///< whether the file has the norm after the last block; else that stands at its initial values
};
/// Error where features after the last norm are asked for and the file had none.
void require_norm(const LoadedBackbone& backbone, bool final_norm);
/// The backbone of any network of ours; of a tokenizer the encoder. Heads are left out.
LoadedBackbone load_backbone(const std::filesystem::path& path, const LoadOptions& options = {});

/// The whole network of a file, whichever of ours it is. Error where tensors and network do not fit.
std::shared_ptr<torch::nn::Module> whole_network(const NetworkFile& file);
/// All that does not fit, where there is anything.
LoadReport mismatches(const NetworkFile& file);

/// The backbone of a pre-training model at its initial values, drawn from LibTorch's generator.
LoadedBackbone random_backbone(const ModelOptions& model, const MimChoice& choice);

/// Written as the commands do it, with the options that tensors do not tell, so that load_*() and every command read
/// the file again. From any device, in train() or eval(). The file is there whole or not at all. Error, and nothing
/// written, where options and network contradict each other, or the file cannot be written.
void save(const std::filesystem::path& path, const LoadedTokenizer& tokenizer);
void save(const std::filesystem::path& path, const LoadedMim& mim);
void save(const std::filesystem::path& path, const LoadedClassifier& classifier);
void save(const std::filesystem::path& path, const LoadedSegmenter& segmenter);
void save(const std::filesystem::path& path, const LoadedPixelDecoder& decoder);
/// Error also for a tokenizer's encoder that takes 2 x - 1, which a backbone's file cannot state: save the tokenizer.
void save(const std::filesystem::path& path, const LoadedBackbone& backbone);

}  // namespace beit
