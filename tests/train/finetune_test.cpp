// Shape letters: B images, K classes.
#include "train/finetune.h"

#include <fstream>

#include "base/error.h"
#include "tests/core/golden.h"
#include "tests/data/samples.h"
#include "tests/support.h"
#include "tests/train/small_models.h"
#include "train/backbone_start.h"
#include "train/evaluation.h"
#include "train/export.h"

namespace beit {
namespace {

const ViTOptions kSmall{.grid = {4, 4},
                        .patch_size = 4,
                        .width = 16,
                        .depth = 2,
                        .heads = 2,
                        .layer_scale = 0.1,
                        .absolute_position = false,
                        .relative_position = RelPos::kBlock};

TEST_CASE("finetune: loss and every gradient of a mixed batch equal the oracle's on timm's") {
  const auto file = read_safetensors(golden("finetune.safetensors")).tensors;
  Classifier model(ClassifierOptions{.vit = kSmall, .classes = 5});
  load_state_dict_strict(*model, tensors_under(file, "w."), "golden/finetune");
  for (const std::string name : {"mixup", "cutmix"}) {
    CAPTURE(name);
    const auto box = file.at(name + ".box");
    const auto at = [&](int64_t i) { return box[i].item<int64_t>(); };
    const Mix mix{file.at(name + ".share").item<double>(), {at(0), at(1), at(2), at(3)}};
    CHECK(mix.share < 1);
    model->zero_grad();
    const auto mixed = mix_batch(file.at("in.images"), file.at("in.labels"), 5, 0.1, mix);
    const auto loss = soft_cross_entropy(model->forward(mixed.images_BCHW), mixed.targets_BK);
    loss.backward();
    CHECK(difference(loss, file.at(name + ".loss")) < 1e-5);
    check_gradients(*model, tensors_under(file, name + ".grad."), 1e-4);
  }
}

Batch batch_of(int64_t images, int64_t classes) {
  return {{torch::randn({images, 3, 16, 16})}, torch::arange(images), torch::randint(classes, {images}, torch::kInt64)};
}

TEST_CASE("finetune: where nothing is mixed the loss is the smoothed one and top1 is counted, else it is left out") {
  torch::manual_seed(3);
  Distributed alone;
  Classifier model(ClassifierOptions{.vit = kSmall, .classes = 5, .head_scale = 1});
  const Batch batch = batch_of(7, 5);
  const auto logits_BK = model->forward(batch.views[0]);
  for (const MixOptions& plain : {MixOptions{.mixup = 0, .cutmix = 0}, MixOptions{.mix_probability = 0}}) {
    FinetuneTask task(model, plain, 0.5, nullptr, {}, torch::kCPU, alone);
    task.begin_step({batch}, {{}});
    const StepLoss step = task.loss(batch, {});
    const auto expected = torch::cross_entropy_loss(logits_BK, batch.labels_B, {}, at::Reduction::Mean, -100, 0.1);
    CHECK(difference(step.total, expected) < 1e-5);
    REQUIRE(step.parts.size() == 1);
    CHECK(step.parts[0].first == "top1");
    const auto right = logits_BK.argmax(1).eq(batch.labels_B).sum().item<int64_t>();
    CHECK(step.parts[0].second.item<double>() == doctest::Approx(100.0 * static_cast<double>(right) / 7));
    CHECK(task.layer_decay().rate == 0.5);
    CHECK(task.layer_decay().depth == 2);
  }
  FinetuneTask mixing(model, {}, 1, nullptr, {}, torch::kCPU, alone);
  mixing.begin_step({batch}, {{}});
  CHECK(mixing.loss(batch, {}).parts.empty());
}

TEST_CASE("finetune: what is mixed follows from LibTorch's seed, and cutting a step into parts changes nothing") {
  Distributed alone;
  torch::manual_seed(4);
  Classifier model(ClassifierOptions{.vit = kSmall, .classes = 5, .head_scale = 1});
  const Batch whole = batch_of(6, 5);
  std::vector<Batch> halves;
  for (const int64_t from : {0, 3})
    halves.push_back(
        {{whole.views[0].slice(0, from, from + 3)}, whole.indices_B, whole.labels_B.slice(0, from, from + 3)});
  FinetuneTask task(model, {}, 1, nullptr, {}, torch::kCPU, alone);
  const auto loss_of = [&](uint64_t seed) {
    torch::manual_seed(seed);
    task.begin_step({whole}, {{}});
    return task.loss(whole, {}).total.item<double>();
  };
  CHECK(loss_of(8) == loss_of(8));
  CHECK(loss_of(8) != loss_of(9));
  torch::manual_seed(8);
  task.begin_step(halves, {{}, {}});
  const double first = task.loss(halves[0], {}).total.item<double>(),
               second = task.loss(halves[1], {}).total.item<double>();
  CHECK((first + second) / 2 == doctest::Approx(loss_of(8)).epsilon(1e-6));
}

TEST_CASE(
    "finetune: validation is a direct computation over the set, whose classes may be fewer and others in number") {
  const TemporaryFolder folder;
  torch::manual_seed(5);
  for (const char* name : {"b", "d"}) {
    std::filesystem::create_directories(folder.path / name);
    for (int i = 0; i < 5; ++i)
      write_png(folder.path / name / (std::to_string(i) + ".png"), torch::randint(256, {16, 16, 3}, torch::kUInt8));
  }
  const Dataset images = Dataset::open(std::vector<std::filesystem::path>{folder.path});
  const ModelOptions sizes{.width = 16, .depth = 2, .heads = 2, .image_size = 16, .patch_size = 4};
  Loader loader(images, evaluation_transform(sizes, kImagenetScale), evaluation_loading({}, 4));
  Classifier model(ClassifierOptions{.vit = kSmall, .classes = 7, .head_scale = 1});
  Distributed alone;
  FinetuneTask task(model, {}, 1, &loader, torch::tensor({6, 1}), torch::kCPU, alone);
  const auto figures = task.validate();
  CHECK(model->is_training());

  const torch::NoGradGuard no_grad;
  model->eval();
  double loss = 0, first = 0, five = 0;
  loader.start(0);
  while (const auto batch = loader.next()) {
    const auto scores_BK = model->forward(batch->views[0]).log_softmax(1);
    for (int64_t i = 0; i < scores_BK.size(0); ++i) {
      const int64_t label = batch->labels_B[i].item<int64_t>() == 0 ? 6 : 1;
      const auto own = scores_BK[i][label];
      const auto better = scores_BK[i].gt(own).sum().item<int64_t>();
      loss -= own.item<double>() / 10;
      first += better == 0 ? 10 : 0;
      five += better < 5 ? 10 : 0;
    }
  }
  CHECK(figures["val_loss"].get<double>() == doctest::Approx(loss).epsilon(1e-5));
  CHECK(figures["val_top1"].get<double>() == doctest::Approx(first));
  CHECK(figures["val_top5"].get<double>() == doctest::Approx(five));
  CHECK(five > first);
}

TEST_CASE("finetune: a classifier's head is taken where pooling, number and names of classes fit, else left out") {
  const TemporaryFolder folder;
  const auto path = folder.path / "classifier.safetensors";
  torch::manual_seed(6);
  const std::vector<std::string> names{"cat", "dog", "newt"};
  ViTOptions vit = kSmall;
  vit.patch_size = 8;  // as kSmallModel
  Classifier model(ClassifierOptions{.vit = vit, .classes = 3, .head_scale = 1});
  {
    const torch::NoGradGuard no_grad;
    model->named_parameters()["fc_norm.weight"].uniform_();
  }
  ModelOptions sizes = kSmallModel;
  auto metadata = config_metadata("finetune", describe(sizes));
  const auto from = [&](const std::map<std::string, std::string>& with, int64_t classes, Pooling pooling,
                        const std::vector<std::string>& data) {
    write_safetensors(path, state_dict(*model), with);
    const NetworkFile file = open_network(path);
    torch::manual_seed(7);
    Classifier network(ClassifierOptions{.vit = file.vit, .classes = classes, .pooling = pooling});
    start_from(network, file, data);
    return state_dict(*network);
  };
  const auto own = state_dict(*model);
  const auto takes_head = [&](const TensorMap& tensors) {
    return tensors.at("head.weight").sizes() == own.at("head.weight").sizes() &&
           torch::equal(tensors.at("head.weight"), own.at("head.weight")) &&
           torch::equal(tensors.at("head.bias"), own.at("head.bias"));
  };
  CHECK(takes_head(from(metadata, 3, Pooling::kMean, names)));  // a file without names
  metadata.insert(class_metadata(names));
  CHECK(takes_head(from(metadata, 3, Pooling::kMean, names)));
  const auto others = from(metadata, 3, Pooling::kMean, {"cat", "dog", "owl"});
  CHECK(!takes_head(others));
  CHECK(torch::equal(others.at("fc_norm.weight"), own.at("fc_norm.weight")));  // of the backbone's features
  CHECK(torch::equal(others.at("blocks.1.mlp.fc1.weight"), own.at("blocks.1.mlp.fc1.weight")));
  CHECK(!takes_head(from(metadata, 4, Pooling::kMean, {"a", "b", "c", "d"})));
  const auto cls = from(metadata, 3, Pooling::kCls, names);
  CHECK(!takes_head(cls));
  CHECK(torch::equal(cls.at("norm.weight"), torch::ones({16})));
  CHECK(torch::equal(cls.at("blocks.1.mlp.fc1.weight"), own.at("blocks.1.mlp.fc1.weight")));
}

TEST_CASE("finetune: the classes' names go into other files and come back") {
  const TemporaryFolder folder;
  const auto path = folder.path / "classifier.safetensors", hugging_face = folder.path / "hf";
  torch::manual_seed(8);
  ViTOptions vit = kSmall;
  vit.patch_size = 8;
  Classifier model(ClassifierOptions{.vit = vit, .classes = 3});
  ModelOptions sizes = kSmallModel;
  auto metadata = config_metadata("finetune", describe(sizes));
  const std::vector<std::string> names{"cat", "d\"og", "newt"};
  const auto written = [&](bool named) {
    if (named) metadata.insert(class_metadata(names));
    write_safetensors(path, state_dict(*model), metadata);
    const NetworkFile file = open_network(path);
    const Exported own = export_own(file), other = export_hugging_face(file);
    CHECK(as_network({.tensors = own.tensors, .metadata = own.metadata}, "own").class_names == file.class_names);
    std::filesystem::create_directories(hugging_face);
    write_safetensors(hugging_face / "model.safetensors", other.tensors, other.metadata);
    std::ofstream(hugging_face / "config.json") << other.config_json;
    return file;
  };
  CHECK(written(false).class_names.empty());
  CHECK(load_classifier(hugging_face).class_names.empty());  // LABEL_0 is no name
  CHECK(written(true).class_names == names);
  CHECK(load_classifier(hugging_face).class_names == names);

  metadata["classes"] = R"(["cat"])";
  write_safetensors(path, state_dict(*model), metadata);
  CHECK_THROWS_WITH_AS(open_network(path), doctest::Contains("names of 3 classes"), Error);
}

}  // namespace
}  // namespace beit
