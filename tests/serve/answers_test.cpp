#include "serve/answers.h"

#include <doctest/doctest.h>

#include "serve/refusal.h"
#include "tests/serve/small_server.h"

namespace beit {
namespace {

TEST_CASE("answers: the form that Accept likes best, JSON where it likes all the same") {
  Endpoint endpoint{.name = "segment"};
  endpoint.png = [](const ImageTensors&) { return std::vector<uint8_t>{1}; };
  CHECK(accepted_form("", endpoint) == AnswerForm::kJson);
  CHECK(accepted_form("*/*", endpoint) == AnswerForm::kJson);
  CHECK(accepted_form("text/html, */*;q=0.1", endpoint) == AnswerForm::kJson);
  CHECK(accepted_form("application/x-safetensors", endpoint) == AnswerForm::kSafetensors);
  CHECK(accepted_form("Application/Octet-Stream", endpoint) == AnswerForm::kSafetensors);
  CHECK(accepted_form("image/*, application/json;q=0.5", endpoint) == AnswerForm::kPng);
  CHECK(accepted_form("application/json;q=0, application/*", endpoint) == AnswerForm::kSafetensors);
  CHECK_THROWS_AS(accepted_form("text/html", endpoint), Refusal);
  CHECK_THROWS_AS(accepted_form("image/png;q=0", endpoint), Refusal);
  CHECK_THROWS_AS(accepted_form("image/png", Endpoint{.name = "tokens"}), Refusal);
}

TEST_CASE("answers: JSON holds any name; tensors are stacked where their shapes agree") {
  const auto model = counting_model();
  Endpoint endpoint = model.endpoints[0];
  const std::vector<AnsweredImage> images{{"a\"\xff.png", {2, 3}, {{"pixels", torch::tensor(int64_t{6})}}},
                                          {"", {1, 1}, {{"pixels", torch::tensor(int64_t{1})}}}};
  const Json json = Json::parse(answer_of(endpoint, AnswerForm::kJson, images).body);
  CHECK(json["images"][0]["name"] == "a\"\xef\xbf\xbd.png");
  CHECK(json["images"][0]["width"] == 3);
  CHECK(json["images"][0]["pixels"] == 6);
  CHECK(!json["images"][1].contains("name"));

  const TemporaryFolder folder;
  const auto tensors_of = [&](const Endpoint& of) {
    const auto answer = answer_of(of, AnswerForm::kSafetensors, images);
    CHECK(answer.type == "application/x-safetensors");
    const auto* bytes = reinterpret_cast<const uint8_t*>(answer.body.data());
    write_bytes(folder.path / "answer.safetensors", {bytes, answer.body.size()});
    return read_safetensors(folder.path / "answer.safetensors");
  };
  CHECK(torch::equal(tensors_of(endpoint).tensors.at("pixels"), torch::tensor({int64_t{6}, int64_t{1}})));
  endpoint.equal_shapes = false;
  CHECK(tensors_of(endpoint).tensors.at("pixels.1").item<int64_t>() == 1);
}

}  // namespace
}  // namespace beit
