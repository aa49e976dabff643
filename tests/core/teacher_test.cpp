#include "core/teacher.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "core/efficientnet_lite.h"
#include "core/regrid.h"
#include "core/teacher_dino.h"
#include "tests/core/golden.h"
#include "tests/core/small_teachers.h"

using namespace beit;

namespace {

const Grid kFour{4, 4};

TeacherOptions network(const std::string& kind, int64_t image_size = 0) {
  return {.kind = kind, .image_size = image_size, .heads = kind == "efficientnet-lite" ? 0 : 2};
}

NamedTensors weights_of(const std::string& kind) {
  return kind == "efficientnet-lite" ? small_efficientnet() : golden_teacher(kind);
}

}  // namespace

TEST_CASE("teacher: CLIP's and DINO's patch tokens are those stated in PyTorch, on their own grid and another") {
  for (const std::string kind : {"clip", "dino"}) {
    CAPTURE(kind);
    const auto expected = read_safetensors(golden(kind + ".safetensors")).tensors;
    const auto teacher = make_teacher(network(kind), kFour, golden_teacher(kind));
    CHECK(teacher->width() == (kind == "clip" ? 10 : 24));
    CHECK_FALSE(teacher->standardised());
    const auto found = teacher->target(expected.at("in.images"));
    CHECK((found.scalar_type() == torch::kFloat32));
    CHECK_FALSE(found.requires_grad());
    CHECK(difference(found, expected.at("out.tokens")) < 1e-5);
    const auto larger = make_teacher(network(kind, 24), {6, 6}, golden_teacher(kind));
    CHECK(difference(larger->target(expected.at("in.images_24")), expected.at("out.tokens_24")) < 1e-5);
  }
}

TEST_CASE("teacher: DINOv2's patch tokens are those stated in PyTorch, with registers and with a gated MLP") {
  for (const std::string name : {"dinov2", "dinov2_swiglu"}) {
    CAPTURE(name);
    const auto expected = read_safetensors(golden(name + ".safetensors")).tensors;
    const auto teacher = make_teacher(network("dino"), {5, 5}, golden_teacher(name));
    CHECK(teacher->width() == 12);
    CHECK(difference(teacher->target(expected.at("in.images")), expected.at("out.tokens")) < 1e-5);
    const auto smaller = make_teacher(network("dino", 6), {3, 4}, golden_teacher(name));
    CHECK(difference(smaller->target(expected.at("in.images_small")), expected.at("out.tokens_small")) < 1e-5);
  }
}

TEST_CASE("teacher: a DINO network's form is read from its tensors") {
  const NamedTensors base{{"patch_embed.proj.weight", torch::zeros({128, 3, 14, 14})},
                          {"pos_embed", torch::zeros({1, 1370, 128})},
                          {"register_tokens", torch::zeros({1, 4, 128})},
                          {"blocks.0.ls1.gamma", torch::zeros({128})},
                          {"blocks.1.mlp.fc2.weight", torch::zeros({128, 512})},
                          {"blocks.0.mlp.fc2.weight", torch::zeros({128, 512})}};
  auto found = dino_options(base);
  CHECK(found.grid == Grid{37, 37});  // 518 pixels
  CHECK(found.patch_size == 14);
  CHECK(found.width == 128);
  CHECK(found.depth == 2);
  CHECK(found.heads == 2);
  CHECK(found.hidden == 512);
  CHECK(found.registers == 4);
  CHECK(found.layer_scale);
  CHECK_FALSE(found.swiglu);
  auto giant = base;
  giant.erase("register_tokens");
  giant.erase("blocks.0.mlp.fc2.weight");
  giant["blocks.0.mlp.w12.weight"] = torch::zeros({704, 128});
  giant["blocks.0.mlp.w3.weight"] = torch::zeros({128, 352});
  found = dino_options(giant);
  CHECK(found.swiglu);
  CHECK(found.hidden == 352);
  CHECK(found.registers == 0);
  found = dino_options(golden_teacher("dino"), 2);
  CHECK(found.grid == Grid{4, 4});
  CHECK(found.hidden == 96);
  CHECK_FALSE(found.layer_scale);
}

TEST_CASE("teacher: weights in half precision are computed with in single precision") {
  for (const std::string kind : {"clip", "dino"}) {
    auto half = golden_teacher(kind), single = half;
    for (auto& [name, tensor] : half) {
      tensor = tensor.to(torch::kFloat16);
      single[name] = tensor.to(torch::kFloat32);
    }
    const auto images = torch::rand({2, 3, 16, 16});
    for (const int64_t size : {0, 24}) {
      const auto found = make_teacher(network(kind, size), kFour, half)->target(images);
      CHECK((found.scalar_type() == torch::kFloat32));
      CHECK(torch::equal(found, make_teacher(network(kind, size), kFour, single)->target(images)));
    }
  }
}

TEST_CASE("teacher: EfficientNet-Lite's map is the target, one place a patch") {
  const auto file = small_efficientnet();
  const auto teacher = make_teacher(network("efficientnet-lite"), {2, 3}, file);
  CHECK(teacher->width() == 12);
  CHECK(teacher->standardised());
  const auto images = torch::rand({2, 3, 32, 48});
  const auto map_BDHW = EfficientNetLite(file).map(images);
  const auto found = teacher->target(images);
  CHECK(found.sizes() == torch::IntArrayRef({2, 6, 12}));
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t column = 0; column < 3; ++column) {
      CHECK(torch::equal(found.select(1, 3 * row + column), map_BDHW.select(2, row).select(2, column)));
    }
  }
}

TEST_CASE("teacher: the network may stand under a prefix beside another one and a classification head") {
  auto clip = with_prefix(golden_teacher("clip"), "visual.");
  // The tower of texts stands at the top, under names that the tower of images has too.
  clip["positional_embedding"] = torch::ones({77, 16});
  clip["token_embedding.weight"] = torch::ones({99, 16});
  for (const std::string block : {"0", "1", "2"}) {
    clip["transformer.resblocks." + block + ".ln_1.weight"] = torch::ones({16});
    clip["transformer.resblocks." + block + ".attn.in_proj_weight"] = torch::ones({48, 16});
  }
  clip["ln_final.weight"] = torch::ones({16});
  clip["text_projection"] = torch::ones({16, 10});
  clip["logit_scale"] = torch::ones({});
  clip["input_resolution"] = torch::tensor(16);
  auto dino = with_prefix(golden_teacher("dino"), "module.backbone.");
  dino["module.backbone.head.weight"] = torch::ones({5, 24});
  dino["module.projector.weight"] = torch::ones({5, 24});
  for (const auto& [kind, file] : {std::pair{std::string("clip"), clip}, {"dino", dino}}) {
    const auto expected = read_safetensors(golden(kind + ".safetensors")).tensors;
    const auto found = make_teacher(network(kind), kFour, file)->target(expected.at("in.images"));
    CHECK(difference(found, expected.at("out.tokens")) < 1e-5);
  }
}

TEST_CASE("teacher: on another grid than the student's its map is interpolated") {
  for (const std::string kind : {"clip", "dino", "efficientnet-lite"}) {
    CAPTURE(kind);
    const auto file = weights_of(kind);
    const int64_t size = kind == "efficientnet-lite" ? 64 : 16;
    const auto images = torch::rand({2, 3, size, size});
    const auto own = make_teacher(network(kind, size), kFour, file)->target(images);
    for (const Grid& grid : {Grid{2, 2}, Grid{3, 3}, Grid{8, 8}}) {
      const auto found = make_teacher(network(kind, size), grid, file)->target(images);
      CHECK(difference(found, resize_map(own, kFour, grid)) < 1e-5);
    }
  }
}

TEST_CASE("teacher: it sees the proportions of the student's grid") {
  for (const std::string kind : {"clip", "dino", "efficientnet-lite", "hog", "pixels"}) {
    CAPTURE(kind);
    const auto file = teacher_needs_weights(kind) ? weights_of(kind) : NamedTensors{};
    const auto teacher = make_teacher({.kind = kind, .patch_size = 4, .heads = network(kind).heads}, {4, 6}, file);
    const auto found = teacher->target(torch::rand({1, 3, 20, 30}));
    CHECK(found.sizes() == torch::IntArrayRef({1, 24, teacher->width()}));
    CHECK(found.isfinite().all().item<bool>());
  }
}

TEST_CASE("teacher: pictures of another size are resized, whatever they are") {
  for (const std::string kind : {"clip", "dino", "hog", "pixels"}) {
    CAPTURE(kind);
    const auto file = teacher_needs_weights(kind) ? weights_of(kind) : NamedTensors{};
    const auto teacher = make_teacher({.kind = kind, .patch_size = 4, .heads = network(kind).heads}, kFour, file);
    const auto images = torch::rand({1, 3, 37, 23});
    CHECK(torch::equal(teacher->target(images), teacher->target(resize_images(images, 16, 16))));
    CHECK_THROWS_WITH_AS(teacher->target(torch::zeros({1, 3, 16, 16}, torch::kUInt8)),
                         doctest::Contains("scale bytes by 1/255"), Error);
  }
}

TEST_CASE("teacher: the file's tensors are copied and never changed") {
  for (const std::string kind : {"clip", "dino", "efficientnet-lite"}) {
    CAPTURE(kind);
    auto file = weights_of(kind);
    const auto before = weights_of(kind);
    const auto images = torch::rand({1, 3, 64, 64});
    const auto teacher = make_teacher(network(kind), {6, 6}, file);
    const auto expected = teacher->target(images);
    for (auto& [name, tensor] : file) {
      CHECK_MESSAGE(torch::equal(tensor, before.at(name)), name);
      tensor.zero_();
    }
    CHECK(torch::equal(teacher->target(images), expected));
  }
}

TEST_CASE("teacher: a kind that there is not, is refused") {
  CHECK_THROWS_WITH_AS(make_teacher({.kind = "clipp"}, kFour, {}),
                       doctest::Contains("expected clip, dino, efficientnet-lite, hog or pixels, got 'clipp'"), Error);
  CHECK_THROWS_AS(teacher_needs_weights(""), Error);
}

TEST_CASE("teacher: weights are given to networks and to nothing else") {
  for (const std::string kind : {"clip", "dino", "efficientnet-lite"}) {
    CHECK(teacher_needs_weights(kind));
    CHECK_THROWS_WITH_AS(make_teacher(network(kind), kFour, {}),
                         doctest::Contains("name their file with --teacher-weights"), Error);
  }
  for (const std::string kind : {"hog", "pixels"}) {
    CHECK_FALSE(teacher_needs_weights(kind));
    CHECK_THROWS_WITH_AS(make_teacher({.kind = kind}, kFour, golden_teacher("dino")),
                         doctest::Contains("leave --teacher-weights out"), Error);
  }
}

TEST_CASE("teacher: another network's weights are refused") {
  const std::vector<std::string> kinds{"clip", "dino", "efficientnet-lite"};
  for (const auto& kind : kinds) {
    for (const auto& other : kinds) {
      if (other == kind) continue;
      CHECK_THROWS_WITH_AS(make_teacher(network(kind), kFour, weights_of(other)),
                           doctest::Contains("--teacher-weights names another network's file"), Error);
    }
    CHECK_THROWS_AS(make_teacher(network(kind), kFour, {{"x", torch::ones(1)}}), Error);
  }
}

TEST_CASE("teacher: a network with a tensor missing, superfluous or of another shape is refused") {
  for (const std::string weights : {"clip", "dino", "dinov2", "dinov2_swiglu"}) {
    const std::string kind = weights == "clip" ? weights : "dino";
    auto file = golden_teacher(weights);
    file.erase("mask_token");  // not read
    for (const auto& [name, tensor] : file) {
      if (name == "register_tokens") continue;  // without them it is the network without registers
      CAPTURE(name);
      auto changed = file;
      changed.erase(name);
      CHECK_THROWS_AS(make_teacher(network(kind), kFour, changed), Error);
      changed[name] = torch::cat({tensor, tensor});
      CHECK_THROWS_AS(make_teacher(network(kind), kFour, changed), Error);
      changed[name] = tensor.unsqueeze(0);
      CHECK_THROWS_AS(make_teacher(network(kind), kFour, changed), Error);
    }
    auto changed = file;
    changed["more.weight"] = torch::ones(1);
    CHECK_THROWS_WITH_AS(make_teacher(network(kind), kFour, changed), doctest::Contains("1 unexpected (more.weight)"),
                         Error);
  }
}

TEST_CASE("teacher: sizes that do not fit are refused") {
  for (const std::string kind : {"clip", "dino"}) {
    CHECK_THROWS_WITH_AS(make_teacher({.kind = kind}, kFour, golden_teacher(kind)), doctest::Contains("give its heads"),
                         Error);
    CHECK_THROWS_AS(make_teacher({.kind = kind, .heads = 5}, kFour, golden_teacher(kind)), Error);
    CHECK_THROWS_WITH_AS(make_teacher(network(kind, 18), kFour, golden_teacher(kind)),
                         doctest::Contains("a multiple of its patch of 4 pixels, got 18"), Error);
    CHECK_THROWS_AS(make_teacher(network(kind, -16), kFour, golden_teacher(kind)), Error);
    CHECK_THROWS_WITH_AS(make_teacher(network(kind), {0, 4}, golden_teacher(kind)), doctest::Contains("got 0x4"),
                         Error);
  }
}
