// `beit eval`: a classifier's accuracy over a whole set.
// Shape letters: B images of a batch, M images that count, C classes of the data, K competing outputs.
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "cli/class_choice.h"
#include "cli/classification.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/table.h"
#include "core/confusion.h"
#include "core/metrics.h"
#include "io/atomic_file.h"
#include "viz/confusion_picture.h"

namespace beit {
namespace {

/// Of every image that counts: the output it was taken for, its label's, how many are before that, and its loss.
struct Answers {
  torch::Tensor predicted_M, labels_M, ranks_M, losses_M;
};

/// What is told of a whole set; shares in percent.
struct EvalFigures {
  double top1 = 0, loss = 0, mean_class_top1 = 0;
  std::optional<double> top5 = {};  ///< nothing where five classes are all that compete
  std::vector<ClassFigures> classes = {};
};

EvalFigures figures_of(const Answers& answers, int64_t competing) {
  const auto within = [&](int64_t k) { return 100 * answers.ranks_M.lt(k).to(torch::kFloat64).mean().item<double>(); };
  EvalFigures figures{.top1 = within(1), .loss = answers.losses_M.to(torch::kFloat64).mean().item<double>()};
  if (competing > 5) figures.top5 = within(5);
  figures.classes = class_figures(answers.predicted_M, answers.labels_M);
  for (const ClassFigures& one : figures.classes)
    figures.mean_class_top1 += 100 * static_cast<double>(one.right) / static_cast<double>(one.samples);
  figures.mean_class_top1 /= static_cast<double>(figures.classes.size());
  return figures;
}

struct Eval {
  ClassificationOptions of;
  std::string subset, confusion, json;
  bool per_class = false;

  OptionList options() {
    return join(
        {{{.name = "subset",
           .value = &subset,
           .help = "names or numbers of the outputs that compete, one a line; images of other classes are left out",
           .value_name = "FILE"},
          {.name = "confusion",
           .value = &confusion,
           .help = "PNG file for a picture of what is taken for what: rows label, columns prediction",
           .value_name = "FILE.png"},
          {.name = "per-class", .value = &per_class, .help = "print a table of the classes"},
          {.name = "json",
           .value = &json,
           .help = "file for all figures and those of each class, as a JSON object",
           .value_name = "FILE"}},
         of.options()});
  }

  void run() {
    require(confusion.empty() || confusion.ends_with(".png"),
            "eval: expected a PNG file to draw to, got '{}'; set --confusion FILE.png", confusion);
    const torch::NoGradGuard no_grad;
    Classification classifier("eval", of, {confusion, json});
    const Dataset& images = classifier.images();
    const ClassMatch match = match_classes(images.classes(), classifier.class_names(), classifier.classes());
    log().info("{} classes of the data found among {} outputs {}", images.classes().size(), classifier.classes(),
               match.by);
    std::vector<int64_t> competing(match.names.size());
    std::iota(competing.begin(), competing.end(), 0);
    if (!subset.empty()) competing = read_subset(subset, match.names);

    const std::vector<int64_t> place_C = places(match, competing);
    int64_t left_out = 0;
    for (int64_t i = 0; i < images.size(); ++i) {
      require(images.label(i) >= 0, "{}: expected images with classes, got one without", images.path(i));
      if (place_C[static_cast<size_t>(images.label(i))] < 0) ++left_out;
    }
    require(left_out < images.size(), "{}: expected classes of the data, got none of its {}", subset,
            images.classes().size());

    Passed passed;
    const Answers answers = ask(classifier, competing, place_C, passed);
    const EvalFigures figures = figures_of(answers, std::ssize(competing));
    if (!json.empty()) write(figures, answers, match, std::ssize(competing), left_out, passed, classifier.image_size());
    if (per_class) log().info("{}", class_table(figures, match));
    log().info("{}: top-1 {:.2f}%{}, loss {:.4f}; {} images of {} classes{}{}, {:.1f} images/s", of.weights,
               figures.top1, figures.top5 ? fmt::format(", top-5 {:.2f}%", *figures.top5) : "", figures.loss,
               answers.labels_M.size(0), figures.classes.size(),
               subset.empty() ? "" : fmt::format(", {} outputs compete", competing.size()),
               left_out > 0 ? fmt::format(", {} images of other classes left out", left_out) : "", passed.images_per_s);
    if (!confusion.empty()) draw(answers);
  }

  /// Of each of the data's classes its place among the competing outputs; -1: not among them.
  static std::vector<int64_t> places(const ClassMatch& match, const std::vector<int64_t>& competing) {
    std::vector<int64_t> place_of_output(match.names.size(), -1), place_C;
    for (size_t i = 0; i < competing.size(); ++i)
      place_of_output[static_cast<size_t>(competing[i])] = static_cast<int64_t>(i);
    for (const int64_t output : match.outputs) place_C.push_back(place_of_output[static_cast<size_t>(output)]);
    return place_C;
  }

  static Answers ask(Classification& classifier, const std::vector<int64_t>& competing,
                     const std::vector<int64_t>& place_of_class, Passed& passed) {
    const auto outputs_K = torch::tensor(competing), place_C = torch::tensor(place_of_class);
    const bool all = outputs_K.size(0) == classifier.classes();
    const auto on_device_K = outputs_K.to(classifier.device());
    std::vector<torch::Tensor> predicted, labels, ranks, losses;
    passed = classifier.each_batch(
        [&](const Batch& batch) {
          const auto known_B = place_C.index_select(0, batch.labels_B);
          const auto rows_m = known_B.ge(0).nonzero().squeeze(1);
          if (rows_m.size(0) == 0) return;
          const bool whole = rows_m.size(0) == known_B.size(0);
          const auto views_mCHW =
              whole ? batch.views[0] : batch.views[0].index_select(0, rows_m.to(classifier.device()));
          const auto labels_m = known_B.index_select(0, rows_m).to(classifier.device());
          const auto scores_mK = classifier.log_probabilities(views_mCHW, all ? torch::Tensor() : on_device_K);
          predicted.push_back(scores_mK.argmax(1));
          labels.push_back(labels_m);
          ranks.push_back(label_ranks(scores_mK, labels_m));
          losses.push_back(-scores_mK.gather(1, labels_m.unsqueeze(1)).squeeze(1));
        },
        [&](int64_t image) { return place_of_class[static_cast<size_t>(classifier.images().label(image))] >= 0; });
    require(!losses.empty(), "eval: expected images of competing classes that can be read, got none");
    const auto outputs_of = [&](const std::vector<torch::Tensor>& places) {
      return outputs_K.index_select(0, torch::cat(places).to(torch::kCPU));
    };
    Answers answers{outputs_of(predicted), outputs_of(labels), torch::cat(ranks).to(torch::kCPU),
                    torch::cat(losses).to(torch::kCPU)};
    const auto broken = answers.losses_M.isfinite().logical_not().sum().item<int64_t>();
    require(broken == 0,
            "eval: expected finite scores, got others for {} of {} images; `beit inspect` looks at the weights", broken,
            answers.losses_M.size(0));
    return answers;
  }

  /// Of the classes that occur, as label or prediction.
  void draw(const Answers& answers) const {
    const auto seen = std::get<0>(at::_unique(torch::cat({answers.labels_M, answers.predicted_M}), /*sorted=*/true));
    require(seen.size(0) <= kMostPictureClasses,
            "eval: expected at most {} classes to draw, got {}; leave --confusion out or set --subset",
            kMostPictureClasses, seen.size(0));
    Confusion counts(seen.size(0));
    counts.add(torch::searchsorted(seen, answers.predicted_M), torch::searchsorted(seen, answers.labels_M));
    const auto* first = seen.const_data_ptr<int64_t>();
    write_file_atomically(confusion,
                          png_bytes(confusion_picture(counts.counts(), {first, static_cast<size_t>(seen.size(0))})));
  }

  void write(const EvalFigures& figures, const Answers& answers, const ClassMatch& match, int64_t competing,
             int64_t left_out, const Passed& passed, int64_t image_size) const {
    using Json = nlohmann::ordered_json;
    auto classes = Json::array();
    for (const auto& [output, samples, right, mistaken_for, mistaken] : figures.classes) {
      classes.push_back(
          {{"class", match.names[static_cast<size_t>(output)]},
           {"output", output},
           {"images", samples},
           {"top1", 100 * static_cast<double>(right) / static_cast<double>(samples)},
           {"mistaken_for", mistaken > 0 ? Json(match.names[static_cast<size_t>(mistaken_for)]) : Json(nullptr)},
           {"mistaken_images", mistaken}});
    }
    const Json result{{"source", of.weights},
                      {"top1", figures.top1},
                      {"top5", figures.top5 ? Json(*figures.top5) : Json(nullptr)},
                      {"loss", figures.loss},
                      {"mean_class_top1", figures.mean_class_top1},
                      {"images", answers.labels_M.size(0)},
                      {"left_out_images", left_out},
                      {"damaged_images", passed.damaged},
                      {"classes", figures.classes.size()},
                      {"outputs", match.names.size()},
                      {"competing_outputs", competing},
                      {"matched", match.by},
                      {"image_size", image_size},
                      {"flip", of.flip},
                      {"per_class", classes}};
    write_file_atomically(json, result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  }

  static std::string class_table(const EvalFigures& figures, const ClassMatch& match) {
    const auto name = [&](int64_t output) { return on_one_line(match.names[static_cast<size_t>(output)]); };
    std::vector<std::vector<std::string>> rows{{"output", "class", "images", "top-1", "mistaken for", "times"}};
    for (const auto& [output, samples, right, mistaken_for, mistaken] : figures.classes) {
      rows.push_back({std::to_string(output), name(output), std::to_string(samples),
                      fmt::format("{:.2f}%", 100 * static_cast<double>(right) / static_cast<double>(samples)),
                      mistaken > 0 ? name(mistaken_for) : "", mistaken > 0 ? std::to_string(mistaken) : ""});
    }
    std::string text = table(rows);
    text.pop_back();  // the log ends the line
    return text;
  }
};

}  // namespace

Command eval_command() { return make_command<Eval>("eval", "Measure a classifier's accuracy over a whole set"); }

}  // namespace beit
