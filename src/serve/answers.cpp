#include "serve/answers.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "serve/refusal.h"

namespace beit {
namespace {

using Json = nlohmann::ordered_json;

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// Calls use(part) for the parts of a list.
template <class Use>
void for_each_part(std::string_view list, char separator, Use use) {
  while (true) {
    const auto end = list.find(separator);
    use(trimmed(list.substr(0, end)));
    if (end == std::string_view::npos) return;
    list.remove_prefix(end + 1);
  }
}

/// How much a range of media types is liked, from 0 to 1: its parameter q.
double weight_of(std::string_view range) {
  double weight = 1;
  for_each_part(range, ';', [&](std::string_view part) {
    if (part.starts_with("q=") || part.starts_with("Q=")) weight = std::atof(std::string(part.substr(2)).c_str());
  });
  return weight;
}

std::vector<std::string> types_of(AnswerForm form) {
  switch (form) {
    case AnswerForm::kSafetensors: return {"application/x-safetensors", "application/octet-stream"};
    case AnswerForm::kPng: return {"image/png"};
    default: return {"application/json"};
  }
}

/// How much a list of ranges likes a type; that of the most exact range that holds it. None where none does.
std::optional<double> liking(std::string_view accept, const std::string& type) {
  std::optional<double> weight;
  int best = 0;  // 1: all types, 2: all of a kind, 3: this one
  for_each_part(accept, ',', [&](std::string_view range) {
    const std::string name = media_type(range);
    const std::string kind = type.substr(0, type.find('/')) + "/*";
    const int exact = name == type ? 3 : name == kind ? 2 : name == "*/*" ? 1 : 0;
    if (exact > best) {
      best = exact;
      weight = weight_of(range);
    }
  });
  return weight;
}

Answer as_json(const Endpoint& endpoint, const std::vector<AnsweredImage>& images) {
  Json list = Json::array();
  for (const AnsweredImage& image : images) {
    Json one = Json::object();
    if (!image.name.empty()) one["name"] = image.name;
    one["width"] = image.size.width;
    one["height"] = image.size.height;
    one.update(endpoint.describe(image.size, image.tensors));
    list.push_back(std::move(one));
  }
  return {"application/json", json_text(Json{{"images", std::move(list)}}) + "\n"};
}

Answer as_safetensors(const Endpoint& endpoint, const std::vector<AnsweredImage>& images) {
  TensorMap tensors;
  Json names = Json::array();
  for (size_t i = 0; i < images.size(); ++i) {
    names.push_back(images[i].name);
    if (endpoint.equal_shapes) continue;
    for (const auto& [name, tensor] : images[i].tensors) tensors.emplace(fmt::format("{}.{}", name, i), tensor);
  }
  if (endpoint.equal_shapes) {
    for (const auto& [name, first] : images.front().tensors) {
      std::vector<torch::Tensor> rows;
      for (const AnsweredImage& image : images) rows.push_back(image.tensors.at(name));
      tensors.emplace(name, rows.size() == 1 ? first.unsqueeze(0) : torch::stack(rows));
    }
  }
  return {"application/x-safetensors", safetensors_bytes(tensors, {{"names", json_text(names)}})};
}

}  // namespace

std::string media_type(std::string_view value) {
  std::string type(trimmed(value.substr(0, value.find(';'))));
  std::ranges::transform(type, type.begin(),
                         [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return type;
}

AnswerForm accepted_form(std::string_view accept, const Endpoint& endpoint) {
  if (trimmed(accept).empty()) return AnswerForm::kJson;
  std::optional<AnswerForm> best;
  double most = 0;
  for (const AnswerForm form : {AnswerForm::kJson, AnswerForm::kSafetensors, AnswerForm::kPng}) {
    if (form == AnswerForm::kPng && !endpoint.png) continue;
    for (const std::string& type : types_of(form)) {
      const double weight = liking(accept, type).value_or(0);
      if (weight > most) {
        most = weight;
        best = form;
      }
    }
  }
  if (!best) {
    refuse(406, "not_acceptable", "Accept: expected application/json, application/x-safetensors{} or */*, got '{}'",
           endpoint.png ? ", image/png" : "", on_one_line(std::string(accept)));
  }
  return *best;
}

void check_count(AnswerForm form, size_t images) {
  if (form != AnswerForm::kPng || images == 1) return;
  refuse(406, "not_acceptable", "expected one image for image/png, got {}; accept application/x-safetensors", images);
}

Answer answer_of(const Endpoint& endpoint, AnswerForm form, const std::vector<AnsweredImage>& images) {
  switch (form) {
    case AnswerForm::kSafetensors: return as_safetensors(endpoint, images);
    case AnswerForm::kPng: {
      const auto bytes = endpoint.png(images.front().tensors);
      return {"image/png", std::string(bytes.begin(), bytes.end())};
    }
    default: return as_json(endpoint, images);
  }
}

Answer error_answer(std::string_view code, std::string_view message) {
  return {"application/json", json_text(Json{{"error", {{"code", code}, {"message", message}}}}) + "\n"};
}

std::string json_text(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace beit
