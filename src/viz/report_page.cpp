#include "viz/report_page.h"

#include <fmt/format.h>

#include "viz/report_sections.h"
#include "viz/xml_text.h"

namespace beit {
namespace {

std::string facts_html(const Facts& facts) {
  if (facts.empty()) return "";
  std::string html = "<dl class=\"facts\">\n";
  for (const auto& [name, value] : facts)
    html += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", xml_text(name), xml_text(value));
  return html + "</dl>\n";
}

std::string details_html(std::string_view summary, const Facts& facts) {
  if (facts.empty()) return "";
  return fmt::format("<details><summary>{}</summary>\n{}</details>\n", summary, facts_html(facts));
}

std::string neighbours_html(const ReportNeighbours& neighbours, std::string_view id) {
  std::string html = fmt::format(
      "<section class=\"neighbours\" aria-labelledby=\"neighbours-{0}-heading\">\n"
      "<h3 id=\"neighbours-{0}-heading\">Nearest images</h3>\n<p>Of {1} images, those whose features (the mean of the "
      "last block's patch tokens) are nearest by cosine.</p>\n",
      id, neighbours.images);
  for (const NeighbourRow& row : neighbours.rows) {
    html += "<div class=\"row\" tabindex=\"0\" role=\"group\" aria-label=\"" + xml_text(row.image.name) +
            " and its nearest images\">\n" + figure_html(row.image);
    for (const Neighbour& one : row.nearest) html += figure_html(one.image, fmt::format(" <b>{:.3f}</b>", one.cosine));
    html += "</div>\n";
  }
  return html + "</section>\n";
}

std::string pictures_html(const std::vector<NamedPicture>& pictures, std::string_view id) {
  if (pictures.empty()) return "";
  std::string html = fmt::format(
      "<section class=\"pictures\" aria-labelledby=\"pictures-{0}-heading\">\n<h3 id=\"pictures-{0}-heading\">"
      "Predictions</h3>\n<div class=\"gallery\">\n",
      id);
  for (const NamedPicture& one : pictures) html += figure_html(one);
  return html + "</div>\n</section>\n";
}

std::string missing_html(const std::vector<std::string>& missing) {
  if (missing.empty()) return "";
  std::string html = "<section class=\"missing\">\n<h3>Not shown</h3>\n<ul>\n";
  for (const std::string& one : missing) html += "<li>" + xml_text(one) + "</li>\n";
  return html + "</ul>\n</section>\n";
}

std::string run_html(const ReportRun& run, std::string_view id) {
  std::string html = fmt::format(
      "<article class=\"run\" id=\"run-{0}\" aria-labelledby=\"run-{0}-heading\">\n<h2 "
      "id=\"run-{0}-heading\">{1}</h2>\n",
      id, xml_text(run.command.empty() ? run.name : run.name + " (" + run.command + ")"));
  html += facts_html(run.state);
  if (run.histogram) {
    HistogramPlot plot = *run.histogram;
    plot.id = fmt::format("histogram-{}", id);
    html += "<section class=\"histogram\">\n<h3>Use of the codebook over time</h3>\n" + svg(plot) + "</section>\n";
  }
  if (run.atlas) html += atlas_html(*run.atlas, id);
  if (run.masks) html += masks_html(*run.masks, id);
  if (run.attention) html += attention_html(*run.attention, id);
  if (run.neighbours) html += neighbours_html(*run.neighbours, id);
  html += pictures_html(run.pictures, id) + missing_html(run.missing);
  html += details_html("Configuration", run.configuration) + details_html("Environment", run.environment);
  return html + "</article>\n";
}

}  // namespace

std::string report_page(const ReportData& data) {
  std::string links, runs;
  if (!data.curves.empty()) links += "<li><a href=\"#curves\">Curves</a></li>\n";
  for (size_t i = 0; i < data.runs.size(); ++i) {
    const std::string id = std::to_string(i);
    links += fmt::format("<li><a href=\"#run-{}\">{}</a></li>\n", id, xml_text(data.runs[i].name));
    runs += run_html(data.runs[i], id);
  }
  std::string body = fmt::format(
      "<a class=\"skip\" href=\"#content\">To the content</a>\n<header>\n<h1>{}</h1>\n"
      "<nav aria-label=\"Sections\">\n<ul>\n"
      "{}</ul>\n</nav>\n</header>\n<main id=\"content\" tabindex=\"-1\">\n",
      xml_text(data.title), links);
  if (!data.curves.empty()) {
    body += "<section id=\"curves\" aria-labelledby=\"curves-heading\">\n<h2 id=\"curves-heading\">Curves</h2>\n" +
            data.curves + "</section>\n";
  }
  body += "<div class=\"runs\">\n" + runs + "</div>\n</main>\n";
  return html_page({.title = data.title,
                    .styles = {"report.css"},
                    .scripts = {"patch_map.js", "report_atlas.js", "report_attention.js", "report_masks.js"},
                    .body = body});
}

}  // namespace beit
