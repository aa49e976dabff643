// What a report shows of runs: numbers, texts, and pictures as bytes. train makes it, viz/report_page.h shows it.
// Shape letters: N patches of an image, T = N + 1 tokens (CLS first), L layers, H heads.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/grid.h"
#include "viz/atlas.h"
#include "viz/histogram_plot.h"
#include "viz/html.h"

namespace beit {

struct NamedPicture {
  std::string name;  ///< the image's path
  EncodedPicture picture;
};

/// The nearest patches of a code side by side in one picture.
struct CodeStrip {
  int64_t code = 0;
  EncodedPicture picture;
};

struct ReportAtlas {
  CodeAtlas atlas;
  Grid grid;
  std::vector<CodeStrip> strips;  ///< of the codes that are shown by patches
};

/// How the heads of some layers weigh an image's tokens.
struct AttendedImage {
  NamedPicture image;
  torch::Tensor weights_LHTT;  ///< uint8: of 255 parts of the row's largest weight
  torch::Tensor largest_LHT;   ///< float32: that weight
};
struct ReportAttention {
  std::vector<int64_t> layers;  ///< from 1
  int64_t depth = 0;            ///< of the network
  Grid grid;
  std::vector<AttendedImage> images;
};

/// What a pre-trained model foretells of the masked patches of an image.
struct MaskedImage {
  NamedPicture image;
  torch::Tensor mask_N;        ///< bool
  torch::Tensor codes_N;       ///< int64, the tokenizer's
  torch::Tensor foretold_N;    ///< int64, -1 where nothing is masked
  torch::Tensor confidence_N;  ///< float32: its probability; 0 where nothing is masked
};
struct ReportMasks {
  Grid grid;
  std::vector<MaskedImage> images;
};

struct Neighbour {
  NamedPicture image;
  double cosine = 0;
};
struct NeighbourRow {
  NamedPicture image;
  std::vector<Neighbour> nearest;  ///< falling cosine
};
struct ReportNeighbours {
  int64_t images = 0;  ///< among which they were looked for
  std::vector<NeighbourRow> rows;
};

using Facts = std::vector<std::pair<std::string, std::string>>;  ///< name and value

struct ReportRun {
  std::string name;                        ///< its folder
  std::string command;                     ///< empty where nothing tells
  Facts state;                             ///< how far, how well
  Facts environment;                       ///< where it ran
  Facts configuration;                     ///< its options
  std::optional<HistogramPlot> histogram;  ///< of the uses of codes; the page gives it an id
  std::optional<ReportAtlas> atlas;
  std::optional<ReportAttention> attention;
  std::optional<ReportMasks> masks;
  std::optional<ReportNeighbours> neighbours;
  std::vector<NamedPicture> pictures;  ///< confusions and overlays; the name says what is shown
  std::vector<std::string> missing;    ///< what is not shown, why, and what to give
};

struct ReportData {
  std::string title;
  std::string curves;  ///< SVG; empty: none
  std::vector<ReportRun> runs;
};

}  // namespace beit
