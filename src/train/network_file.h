// A file of weights, understood: which network it holds and with which sizes, whoever wrote it.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/config.h"
#include "core/classifier.h"
#include "core/mim.h"
#include "core/tokenizer.h"
#include "io/weights.h"

namespace beit {

enum class Network {
  kTokenizer,   ///< encoder, codebook, decoder
  kPretrained,  ///< backbone, `mask_token`, `lm_head`, CLS branch
  kClassifier,  ///< backbone, `head`
  kSegmenter,   ///< `backbone.*`, `decode_head.*`, `auxiliary_head.*`
  kBackbone,    ///< without any head
  kClip,
  kDino,     ///< teachers
  kDecoder,  ///< codebook, `decoder.*`, `decode_pixels`: codes to pixels
  kCodes,    ///< what `beit tokenize` wrote
  kUnknown,
};
/// What is assumed of a backbone that was trained without a final norm and is used with one.
inline constexpr const char* kFreshNorm = "a final norm at its initial values, as the file has none";

/// Whether it is one of BEiT v2's, which has a backbone.
constexpr bool is_ours(Network network) { return network <= Network::kBackbone; }
constexpr bool is_teacher(Network network) { return network == Network::kClip || network == Network::kDino; }
/// "a tokenizer", "a pre-trained model", ...
std::string_view readable(Network network);

/// A network of ours under the names of the published code. Its sizes come from the tensors' shapes; what shapes cannot
/// say comes from the file's configuration where it has one, else it is assumed, and `assumed` says so.
struct NetworkFile {
  std::string path;
  Network network = Network::kUnknown;
  std::string form;                   ///< whose names the file has, for people
  TensorMap tensors;                  ///< of the network, renamed; all of the file's for teachers and below
  std::vector<std::string> order;     ///< names before the renaming, as the file lists them
  std::vector<std::string> left_out;  ///< what of the file is no part of the network
  std::vector<std::string> assumed;   ///< "12 heads, the width over 64"
  std::string config;                 ///< JSON of all options of the command that wrote it; empty where not ours

  // Of kTokenizer to kBackbone:
  ViTOptions vit;      ///< of the encoder or backbone
  ModelOptions model;  ///< the same as options, resolved
  FinalNorm final_norm = FinalNorm::kTokens;
  // Of kTokenizer; of kDecoder its codes and their width:
  CodebookOptions codebook;
  // Of kTokenizer:
  int64_t decoder_width = 0, decoder_heads = 0, target_width = 0;
  // Of kPretrained:
  MimChoice mim;
  int64_t codes = 0;
  // Of kClassifier and kSegmenter:
  int64_t classes = 0;
  std::vector<std::string> class_names;  ///< in the order of the outputs; empty where the file has none
  // Of kSegmenter; without classes its heads are not those of UPerNet:
  SegmenterChoice segmenter;

  // Of kDecoder; `vit` is what makes its pictures, whose grid and patches it has:
  DecoderChoice decoder;  ///< resolved
  // Of kPretrained and kDecoder:
  std::string tokenizer;  ///< tokenizer_identity() of the one that its codes are of; empty where the file does not tell

  /// Before the names of the encoder or backbone: "", "encoder." or "backbone.".
  std::string_view prefix() const;
  Pooling pooling() const { return final_norm == FinalNorm::kPatches ? Pooling::kMean : Pooling::kCls; }
};

/// What the config.json of a Hugging Face or timm folder says that tensors cannot; zeros and "" where it does not.
/// Error, which starts with `where`, for one that is no JSON object, or whose values are of another kind.
struct LibraryConfig {
  int64_t width = 0, depth = 0, heads = 0, image_size = 0, patch_size = 0;
  std::string activation = {};
  double norm_eps = 0;
};
LibraryConfig library_config(const TensorFile& file, std::string_view where);

/// What neither a teacher's tensors nor its configuration tell, for people.
std::vector<std::string> assumed_of_teacher(Network network, const LibraryConfig& config);

/// The entry of a file's metadata that names the classes, in the order of the outputs.
std::pair<std::string, std::string> class_metadata(const std::vector<std::string>& names);

/// Reads any file that read_weights() knows. With `options.image_size`, position embeddings and bias tables are resized
/// to that size. Error, which names the file: damaged; parts of a network that do not fit together; a configuration
/// that contradicts the tensors, or `options` what the file tells; heads that neither tells. A file without a network
/// of ours is no error.
NetworkFile open_network(const std::filesystem::path& path, const LoadOptions& options = {});

/// The same of a file at hand.
NetworkFile as_network(const TensorFile& file, std::string path, const LoadOptions& options = {});

}  // namespace beit
