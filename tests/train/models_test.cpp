#include "train/models.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/support.h"
#include "tests/train/small_models.h"
#include "tests/train/small_segment.h"

namespace beit {
namespace {

TEST_CASE("models: a tokenizer from its file gives the same codes, by run folder as by file") {
  const TemporaryFolder folder;
  Tokenizer tokenizer = write_small_tokenizer(folder.path / "model.safetensors");
  const auto images_BCHW = torch::rand({3, 3, 32, 32});
  for (const auto& path : {folder.path, folder.path / "model.safetensors"}) {
    LoadedTokenizer loaded = load_tokenizer(path);
    CHECK(loaded.options.width == kSmallModel.width);
    CHECK(loaded.codebook.codes == kSmallCodes);
    CHECK(loaded.model->options().target_width == kSmallTarget);
    CHECK(!loaded.model->is_training());
    CHECK(torch::equal(loaded.model->codes(images_BCHW), tokenizer->codes(images_BCHW)));
  }
}

TEST_CASE("models: a pre-trained model's backbone gives the same tokens") {
  const TemporaryFolder folder;
  MaskedImageModel mim = write_small_pretrained(folder.path / "model.safetensors");
  LoadedBackbone loaded = load_backbone(folder.path);
  CHECK(loaded.has_norm);
  const torch::NoGradGuard no_grad;
  const auto images_BCHW = torch::randn({2, 3, 32, 32});
  CHECK(torch::equal(loaded.model->tokens(images_BCHW), mim->tokens(images_BCHW)));
  CHECK(loaded.input == InputForm::kImagenetNorm);
  CHECK(loaded.options.depth == kSmallModel.depth);
}

TEST_CASE("models: a segmentation comes back from its file, with sizes from shapes, and so does its backbone alone") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  Segmenter segmenter = write_small_segmenter(path);
  const torch::NoGradGuard no_grad;
  const auto images_BCHW = torch::randn({2, 3, 32, 32});
  LoadedSegmenter loaded = load_segmenter(folder.path);
  CHECK(torch::equal(loaded.model->scores(images_BCHW), segmenter->scores(images_BCHW)));
  CHECK(loaded.classes == kSmallSegments);
  CHECK(loaded.choice.channels == 8);
  CHECK(loaded.choice.auxiliary_channels == 4);
  CHECK(loaded.class_names == std::vector<std::string>{"sky", "road", "car"});
  CHECK(torch::equal(load_backbone(path).model->tokens(images_BCHW), segmenter->backbone()->tokens(images_BCHW)));
  CHECK(!load_backbone(path).has_norm);
  CHECK(load_segmenter(path, {.image_size = 64}).options.image_size == 64);
  CHECK_THROWS_AS(load_classifier(path), Error);

  // The published form: no configuration, nested, with index buffers.
  const TensorMap tensors = state_dict(*segmenter);
  TensorFile published;
  for (const auto& [name, tensor] : tensors) published.tensors.emplace("state_dict." + name, tensor);
  const NetworkFile file = as_network(published, "f");
  CHECK(mismatches(file).complete());
  CHECK(file.class_names.empty());
  for (const char* name : {"decode_head.bottleneck.conv.weight", "auxiliary_head.convs.0.conv.weight",
                           "decode_head.fpn_convs.2.conv.weight", "decode_head.conv_seg.weight"}) {
    CAPTURE(name);
    TensorFile damaged = published;
    damaged.tensors[fmt::format("state_dict.{}", name)] = torch::ones({2, 3, 1, 1});
    CHECK_THROWS_AS(as_network(damaged, "f"), Error);
    damaged.tensors.erase(fmt::format("state_dict.{}", name));
    CHECK_THROWS_AS(as_network(damaged, "f"), Error);
  }
}

TEST_CASE("models: a pixel decoder comes back from its file, and knows whose codes it decodes") {
  const TemporaryFolder folder;
  const auto place = folder.path / "tokenizer.safetensors", path = folder.path / "model.safetensors";
  const Tokenizer tokenizer = write_small_tokenizer(place);
  PixelDecoder decoder = write_small_decoder(path, tokenizer, place);
  const auto ids_BN = torch::randint(kSmallCodes, {2, 16}, torch::kInt64);
  LoadedPixelDecoder loaded = load_pixel_decoder(folder.path);
  CHECK(torch::equal(loaded.model->reconstruct(ids_BN), decoder->reconstruct(ids_BN)));
  CHECK(loaded.model->options().codes == kSmallCodes);
  CHECK(loaded.model->options().code_width == 4);
  CHECK(loaded.choice.tokenizer == place.string());
  CHECK(loaded.choice.image_size == 32);
  CHECK(loaded.choice.heads == 2);
  CHECK(loaded.tokenizer == tokenizer_identity(tokenizer));
  CHECK(loaded.tokenizer.starts_with("16 codes of width 4 ("));

  // Image sizes change positions alone; another encoder or codebook is another tokenizer.
  CHECK(tokenizer_identity(load_tokenizer(place, {.image_size = 64}).model) == loaded.tokenizer);
  for (const char* name : {"encoder.blocks.0.norm1.bias", "quantize.embedding.weight", "encode_task_layer.2.bias"}) {
    CAPTURE(name);
    Tokenizer other = load_tokenizer(place).model;
    const torch::NoGradGuard no_grad;
    state_dict(*other).at(name).add_(1);
    CHECK(tokenizer_identity(other) != loaded.tokenizer);
  }

  const auto saved = folder.path / "saved.safetensors";
  save(saved, loaded);
  CHECK(load_pixel_decoder(saved).tokenizer == loaded.tokenizer);
  CHECK(torch::equal(load_pixel_decoder(saved).model->reconstruct(ids_BN), decoder->reconstruct(ids_BN)));

  const TensorFile whole = read_safetensors(path);
  CHECK(mismatches(as_network(whole, "f")).complete());
  for (const char* name : {"decoder.patch_embed.proj.weight", "decode_pixels.weight", "decoder.pos_embed",
                           "quantize.embedding.weight", "decoder.blocks.1.mlp.fc1.weight"}) {
    CAPTURE(name);
    TensorFile damaged = whole;
    damaged.tensors[name] = torch::ones({7, 3});
    CHECK_THROWS_AS(as_network(damaged, "f"), Error);
  }
  // Without a configuration the width does not tell the heads.
  CHECK_THROWS_WITH_AS(as_network({.tensors = whole.tensors}, "f"), doctest::Contains("f: decoder"), Error);
  CHECK_THROWS_WITH_AS(load_tokenizer(path), doctest::Contains("expected a tokenizer, got a pixel decoder"), Error);
  CHECK_THROWS_WITH_AS(load_backbone(path), doctest::Contains("got a pixel decoder"), Error);
  CHECK_THROWS_WITH_AS(load_pixel_decoder(place), doctest::Contains("expected a pixel decoder, got a tokenizer"),
                       Error);
}

TEST_CASE("models: whole networks come back from their files, and have what they lack named") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  MaskedImageModel mim = write_small_pretrained(path);
  const torch::NoGradGuard no_grad;
  const auto images_BCHW = torch::randn({2, 3, 32, 32});
  const auto mask_BN = torch::rand({2, 16}) < 0.4;
  LoadedMim loaded = load_mim(folder.path);
  CHECK(loaded.codes == kSmallCodes);
  CHECK(loaded.choice.early_layers == 1);
  CHECK(torch::equal(loaded.model->forward(images_BCHW, mask_BN).cls_pt_MV,
                     mim->forward(images_BCHW, mask_BN).cls_pt_MV));

  Classifier classifier(ClassifierOptions{.vit = loaded.model->options(), .classes = 5});
  classifier->eval();
  write_safetensors(path, state_dict(*classifier));
  CHECK(torch::equal(load_classifier(path).model->forward(images_BCHW), classifier->forward(images_BCHW)));

  auto tensors = state_dict(*classifier);
  tensors.erase("blocks.1.norm2.bias");
  tensors["blocks.0.norm1.weight"] = torch::ones({3});
  tensors["blocks.0.more"] = torch::ones({3});
  const TensorFile damaged{.tensors = tensors};
  const LoadReport report = mismatches(as_network(damaged, "f"));
  CHECK(report.missing == std::vector<std::string>{"blocks.1.norm2.bias"});
  CHECK(report.unexpected == std::vector<std::string>{"blocks.0.more"});
  CHECK(report.wrong_shape.size() == 1);
  CHECK_THROWS_WITH_AS(whole_network(as_network(damaged, "f")), doctest::Contains("blocks.1.norm2.bias"), Error);
}

TEST_CASE("models: weights at another image size compute what the network computes there") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  Tokenizer tokenizer = write_small_tokenizer(path);
  MaskedImageModel mim = write_small_pretrained(folder.path / "mim.safetensors");
  const torch::NoGradGuard no_grad;
  const auto images_BCHW = torch::rand({2, 3, 48, 48});
  CHECK(
      torch::equal(load_tokenizer(path, {.image_size = 48}).model->codes(images_BCHW), tokenizer->codes(images_BCHW)));
  CHECK(torch::allclose(load_backbone(folder.path / "mim.safetensors", {.image_size = 48}).model->tokens(images_BCHW),
                        mim->tokens(images_BCHW), 1e-5, 1e-6));
}

TEST_CASE("models: a tokenizer's encoder serves as backbone, with its own standardisation") {
  const TemporaryFolder folder;
  Tokenizer tokenizer = write_small_tokenizer(folder.path / "model.safetensors");
  LoadedBackbone loaded = load_backbone(folder.path);
  CHECK(loaded.input == InputForm::kDefault);
  const auto saved = state_dict(*tokenizer);
  const auto tensors = state_dict(*loaded.model);
  for (const auto& [name, tensor] : tensors) CHECK(torch::equal(tensor, saved.at("encoder." + name)));
}

TEST_CASE("models: what is saved comes back, with what its tensors do not tell") {
  const TemporaryFolder folder;
  const auto given = folder.path / "model.safetensors", path = folder.path / "saved.safetensors";
  const torch::NoGradGuard no_grad;
  const auto images_BCHW = torch::rand({2, 3, 32, 32});

  write_small_tokenizer(given);
  LoadedTokenizer tokenizer = load_tokenizer(given);
  tokenizer.codebook.beta = 0.5;
  save(path, tokenizer);
  LoadedTokenizer again = load_tokenizer(path);
  CHECK(torch::equal(again.model->codes(images_BCHW), tokenizer.model->codes(images_BCHW)));
  CHECK(again.options.heads == kSmallModel.heads);  // which a width of 16 does not tell
  CHECK(again.codebook.beta == 0.5);

  write_small_pretrained(given);
  LoadedMim mim = load_mim(given);
  mim.tokenizer = "16 codes of width 4 (0123456789abcdef)";
  save(path, mim);
  CHECK(load_mim(path).choice.early_layers == 1);
  CHECK(load_mim(path).tokenizer == mim.tokenizer);

  Classifier classifier(ClassifierOptions{.vit = mim.model->options(), .classes = 2});
  classifier->eval();
  save(path,
       LoadedClassifier{.model = classifier, .options = mim.options, .classes = 2, .class_names = {"cat", "dog"}});
  LoadedClassifier named = load_classifier(path);
  CHECK(named.class_names == std::vector<std::string>{"cat", "dog"});
  CHECK(torch::equal(named.model->forward(images_BCHW), classifier->forward(images_BCHW)));

  write_small_segmenter(given);
  LoadedSegmenter segmenter = load_segmenter(given);
  segmenter.choice.auxiliary_weight = 0.2;
  segmenter.config = R"({"auxiliary-weight":0.4,"reduce-zero-label":true})";
  save(path, segmenter);
  CHECK(load_segmenter(path).choice.auxiliary_weight == 0.2);
  CHECK(load_segmenter(path).config.find(R"("reduce-zero-label":true)") != std::string::npos);
  CHECK(load_segmenter(path).class_names == segmenter.class_names);

  LoadedBackbone backbone = load_backbone(given);
  save(path, backbone);
  CHECK(open_network(path).network == Network::kBackbone);
  CHECK(torch::equal(load_backbone(path).model->tokens(images_BCHW), backbone.model->tokens(images_BCHW)));
}

TEST_CASE("models: what could not be read again is not saved") {
  const TemporaryFolder folder;
  const auto path = folder.path / "saved.safetensors";
  write_small_tokenizer(folder.path / "model.safetensors");
  CHECK_THROWS_WITH_AS(save(path, load_backbone(folder.path)), doctest::Contains("save the tokenizer"), Error);
  LoadedTokenizer tokenizer = load_tokenizer(folder.path);
  tokenizer.options.width = 32;
  CHECK_THROWS_WITH_AS(save(path, tokenizer), doctest::Contains("width"), Error);
  CHECK(!std::filesystem::exists(path));
}

TEST_CASE("models: a network that is read draws no initial values") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  torch::manual_seed(4);
  const auto expected = torch::rand({4});
  const auto draws_after = [&](const auto& load) {
    torch::manual_seed(4);
    load();
    return torch::rand({4});
  };
  write_small_tokenizer(path);
  CHECK(torch::equal(draws_after([&] { load_tokenizer(path); }), expected));
  CHECK(torch::equal(draws_after([&] { load_backbone(path); }), expected));
  CHECK(torch::equal(draws_after([&] { mismatches(open_network(path)); }), expected));
  write_small_segmenter(path);
  CHECK(torch::equal(draws_after([&] { load_segmenter(path); }), expected));
}

TEST_CASE("models: random weights are those of a fresh pre-training model, repeated by the generator's seed") {
  torch::manual_seed(3);
  const auto first = state_dict(*random_backbone(kSmallModel, {.early_layers = 1}).model);
  torch::manual_seed(3);
  const MaskedImageModel mim(mim_options(kSmallModel, {.early_layers = 1}, 1));
  const auto second = state_dict(*mim);
  for (const auto& name : {"patch_embed.proj.weight", "blocks.1.mlp.fc2.weight", "cls_token"}) {
    CHECK(torch::equal(first.at(name), second.at(name)));
  }
}

TEST_CASE("models: named sizes give the published options") {
  const auto tokenizer = tokenizer_options({}, {}, 512);
  CHECK(tokenizer.encoder.width == 768);
  CHECK(tokenizer.encoder.grid == Grid{14, 14});
  CHECK(tokenizer.encoder.layer_scale == 0);
  CHECK(tokenizer.encoder.absolute_position);
  CHECK(tokenizer.decoder_width == 768);
  CHECK(tokenizer.decoder_heads == 12);
  CHECK(tokenizer.quantizer.codes == 8192);
  CHECK(tokenizer.input == InputForm::kDefault);
  const auto mim = mim_options({.model = "huge"}, {}, 8192);
  CHECK(mim.vit.grid == Grid{16, 16});
  CHECK(mim.vit.layer_scale == 0.1);
  CHECK(!mim.vit.absolute_position);
  CHECK(mim.vit.relative_position == RelPos::kShared);
  CHECK(mim.early_layers == 24);
  CHECK(mim_options({.model = "base"}, {}, 8192).early_layers == 9);
  CHECK(mim_options({.model = "large"}, {}, 8192).early_layers == 21);
}

TEST_CASE("models: a file of another kind is refused with what it is") {
  const TemporaryFolder folder;
  const auto tokenizer = folder.path / "tokenizer.safetensors", pretrained = folder.path / "pretrained.safetensors",
             foreign = folder.path / "foreign.safetensors", codes = folder.path / "codes.safetensors";
  write_small_tokenizer(tokenizer);
  write_small_pretrained(pretrained);
  write_safetensors(foreign, {{"x", torch::ones({2})}});
  write_safetensors(codes, {{"codes", torch::ones({2})}}, {{"command", "tokenize"}});
  CHECK_THROWS_WITH_AS(load_tokenizer(pretrained), doctest::Contains("expected a tokenizer, got a pre-trained model"),
                       Error);
  CHECK_THROWS_WITH_AS(load_tokenizer(codes), doctest::Contains("expected a tokenizer, got codes of images"), Error);
  CHECK_THROWS_WITH_AS(load_backbone(foreign), doctest::Contains("got tensors of an unknown model"), Error);
  CHECK_THROWS_WITH_AS(load_mim(tokenizer), doctest::Contains("expected a pre-trained model, got a tokenizer"), Error);
  CHECK_THROWS_WITH_AS(load_classifier(tokenizer), doctest::Contains("expected a classifier, got a tokenizer"), Error);
  CHECK_THROWS_WITH_AS(load_tokenizer(folder.path), doctest::Contains("model.safetensors"), Error);
  CHECK_THROWS_AS(load_tokenizer(folder.path / "none"), Error);
}

TEST_CASE("models: a file whose configuration is damaged or of other sizes is refused") {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.safetensors";
  write_small_tokenizer(path);
  TensorFile file = read_safetensors(path);
  for (auto& [name, tensor] : file.tensors) tensor = tensor.clone();
  const auto rewritten = [&](const std::string& config) {
    auto metadata = file.metadata;
    metadata["config"] = config;
    write_safetensors(path, file.tensors, metadata);
  };
  rewritten("[]");
  CHECK_THROWS_WITH_AS(load_tokenizer(path), doctest::Contains("expected a configuration as a JSON object, got []"),
                       Error);
  rewritten(R"({"width": "wide"})");
  CHECK_THROWS_WITH_AS(load_tokenizer(path), doctest::Contains("width: expected a whole number"), Error);
  rewritten(R"({"model": "tiny", "image-size": 32, "patch-size": 8})");
  CHECK_THROWS_WITH_AS(load_tokenizer(path), doctest::Contains("use the file of the same model and sizes"), Error);
}

}  // namespace
}  // namespace beit
