// Shape letters: N patches of an image, T = N + 1 tokens, K codes, L layers, H heads.
#include "viz/report_sections.h"

#include <fmt/format.h>

#include "base/error.h"
#include "viz/xml_text.h"

namespace beit {
namespace {

using Json = nlohmann::ordered_json;

template <class Number>
std::vector<Number> numbers_of(const torch::Tensor& values) {
  const torch::Tensor flat = values.to(torch::kCPU, c10::CppTypeToScalarType<Number>::value).contiguous().flatten();
  const auto* data = flat.const_data_ptr<Number>();
  return {data, data + flat.numel()};
}

/// The numbers' bytes as they lie in memory: least byte first, as the script reads them.
std::string packed(const torch::Tensor& values) {
  const auto flat = values.to(torch::kCPU).contiguous();
  return base64({static_cast<const char*>(flat.const_data_ptr()), flat.nbytes()});
}

/// To three places, which a page needs no more of.
std::vector<double> rounded(const torch::Tensor& values) {
  return numbers_of<double>((values.to(torch::kFloat64) * 1000).round() / 1000);
}

Json grid_data(const Grid& grid) { return {{"rows", grid.rows}, {"columns", grid.columns}}; }

std::string section_begin(std::string_view kind, std::string_view id, std::string_view heading) {
  return fmt::format(
      "<section class=\"{0}\" data-source=\"{0}-{1}\" aria-labelledby=\"{0}-{1}-heading\">\n"
      "<h3 id=\"{0}-{1}-heading\">{2}</h3>\n",
      kind, id, heading);
}

/// The places of controls, drawing and words, which the script fills.
std::string stage_html() {
  return "<div class=\"controls\" hidden></div>\n<div class=\"stage\" hidden></div>\n"
         "<p class=\"said\" aria-live=\"polite\"></p>\n";
}

std::string strip_html(const ReportAtlas& report, const CodeStrip& strip, std::string_view id) {
  const CodeAtlas& atlas = report.atlas;
  const auto uses = atlas.uses_K[strip.code].item<int64_t>(), images = atlas.images_K[strip.code].item<int64_t>();
  const auto& examples = atlas.examples[static_cast<size_t>(strip.code)];
  const std::string alt =
      fmt::format("the {} patches nearest to code {}, each amid its surroundings", examples.size(), strip.code);
  std::string cosines;
  if (!examples.empty()) {
    cosines = fmt::format("; cosine {:.2f} to {:.2f}", examples.front().similarity, examples.back().similarity);
  }
  return fmt::format(
      "<figure data-code=\"{0}\" id=\"code-{1}-{0}\">{2}<figcaption><b>code {0}</b> {3} patches in {4} "
      "images{5}</figcaption></figure>\n",
      strip.code, id, picture_html(strip.picture, alt), uses, images, cosines);
}

}  // namespace

std::string figure_html(const NamedPicture& image, std::string_view more) {
  return fmt::format("<figure>{}<figcaption>{}{}</figcaption></figure>\n", picture_html(image.picture, image.name),
                     xml_text(image.name), more);
}

std::string atlas_html(const ReportAtlas& report, std::string_view id) {
  const CodeAtlas& atlas = report.atlas;
  const int64_t codes = atlas.uses_K.size(0);
  require(atlas.images_K.size(0) == codes && atlas.where_KN.dim() == 2 && atlas.where_KN.size(0) == codes &&
              atlas.where_KN.size(1) == report.grid.patches() && std::ssize(atlas.examples) == codes,
          "report: expected an atlas of {} codes and {} patches, got images of {} and places of {}", codes,
          report.grid.patches(), atlas.images_K.size(0), fmt::join(atlas.where_KN.sizes(), " x "));
  Json where = Json::object();
  for (const CodeStrip& strip : report.strips)
    where[std::to_string(strip.code)] = numbers_of<int64_t>(atlas.where_KN[strip.code]);
  Json data = grid_data(report.grid);
  data["images"] = atlas.images;
  data["uses"] = numbers_of<int64_t>(atlas.uses_K);
  data["held"] = numbers_of<int64_t>(atlas.images_K);
  if (atlas.similarity_K.defined()) data["similarity"] = rounded(atlas.similarity_K);
  data["where"] = where;
  std::string html = section_begin("atlas", id, "Codes");
  html += fmt::format(
      "<p>{} of {} codes are used in {} images. Shown are the real patches nearest to a code, one an "
      "image, and beside them where in the image the code stands.</p>\n",
      (atlas.uses_K > 0).sum().item<int64_t>(), codes, atlas.images);
  html += "<div class=\"controls\" hidden></div>\n<p class=\"said\" aria-live=\"polite\"></p>\n";
  html += "<div class=\"strips\" tabindex=\"0\" role=\"region\" aria-label=\"Codes by their patches\">\n";
  for (const CodeStrip& strip : report.strips) html += strip_html(report, strip, id);
  html += "</div>\n<details class=\"uses\" hidden><summary>All codes by use</summary></details>\n";
  return html + data_html(fmt::format("atlas-{}", id), data) + "</section>\n";
}

std::string attention_html(const ReportAttention& attention, std::string_view id) {
  const int64_t tokens = attention.grid.patches() + 1, layers = std::ssize(attention.layers);
  Json data = grid_data(attention.grid);
  data["layers"] = attention.layers;
  data["images"] = Json::array();
  std::string gallery, shown;
  int64_t heads = 0;
  for (const int64_t layer : attention.layers) shown += fmt::format("{}{}", shown.empty() ? "" : ", ", layer);
  for (const AttendedImage& one : attention.images) {
    const auto& weights = one.weights_LHTT;
    require(
        weights.dim() == 4 && weights.size(0) == layers && weights.size(2) == tokens && weights.size(3) == tokens &&
            weights.scalar_type() == torch::kUInt8 && one.largest_LHT.scalar_type() == torch::kFloat32 &&
            one.largest_LHT.sizes() == weights.sizes().slice(0, 3),
        "report: expected attention uint8 [{}, H, {}, {}] and largest weights float32 [{}, H, {}], got [{}] and [{}]",
        layers, tokens, tokens, layers, tokens, fmt::join(weights.sizes(), ", "),
        fmt::join(one.largest_LHT.sizes(), ", "));
    heads = weights.size(1);
    data["images"].push_back({{"weights", packed(weights)}, {"largest", packed(one.largest_LHT)}});
    gallery += figure_html(one.image);
  }
  data["heads"] = heads;
  std::string html = section_begin("attention", id, "Attention");
  html += fmt::format(
      "<p>What the CLS token or a patch looks at, in layers {} of {}, by each of {} heads. Point at a "
      "patch, or move over the picture by the arrow keys and choose by Enter.</p>\n",
      shown, attention.depth, heads);
  html += stage_html() + "<div class=\"gallery\">\n" + gallery + "</div>\n";
  return html + data_html(fmt::format("attention-{}", id), data) + "</section>\n";
}

std::string masks_html(const ReportMasks& masks, std::string_view id) {
  const int64_t patches = masks.grid.patches();
  Json data = grid_data(masks.grid);
  data["images"] = Json::array();
  std::string gallery;
  int64_t all = 0, all_right = 0;
  for (const MaskedImage& one : masks.images) {
    for (const auto& values : {one.mask_N, one.codes_N, one.foretold_N, one.confidence_N})
      require(values.dim() == 1 && values.size(0) == patches, "report: expected values of {} patches, got [{}]",
              patches, fmt::join(values.sizes(), ", "));
    const auto masked = one.mask_N.sum().item<int64_t>();
    const auto right = one.codes_N.eq(one.foretold_N).logical_and(one.mask_N).sum().item<int64_t>();
    all += masked;
    all_right += right;
    data["images"].push_back({{"mask", numbers_of<uint8_t>(one.mask_N)},
                              {"codes", numbers_of<int64_t>(one.codes_N)},
                              {"foretold", numbers_of<int64_t>(one.foretold_N)},
                              {"confidence", rounded(one.confidence_N)}});
    gallery += figure_html(one.image, fmt::format(": {} of {} masked codes foretold", right, masked));
  }
  std::string html = section_begin("masks", id, "Masked patches");
  html += fmt::format(
      "<p>Of {} masked patches the code of {} was foretold. Point at a patch, or move over the picture by "
      "the arrow keys, to read its code, the one foretold and with which probability.</p>\n",
      all, all_right);
  html += stage_html() + "<div class=\"gallery\">\n" + gallery + "</div>\n";
  return html + data_html(fmt::format("masks-{}", id), data) + "</section>\n";
}

}  // namespace beit
