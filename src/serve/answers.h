// The forms of an answer, and which of them a request accepts.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "serve/served_model.h"

namespace beit {

enum class AnswerForm { kJson, kSafetensors, kPng };

/// The form that the header `Accept` likes best of those that the endpoint has; JSON where it likes all the same or is
/// empty. Refusal (406) where it accepts none.
AnswerForm accepted_form(std::string_view accept, const Endpoint& endpoint);

/// The part of a header's value before `;`, trimmed and in small letters: a media type.
std::string media_type(std::string_view value);

struct AnsweredImage {
  std::string name;  ///< as the request calls it; empty where it does not
  ImageSize size;
  ImageTensors tensors;
};

struct Answer {
  std::string type;  ///< of media
  std::string body;
};

/// Refusal (406) where that form does not hold so many images.
void check_count(AnswerForm form, size_t images);

/// JSON: {"images": [{"name", "width", "height", ...what the endpoint describes}]}. Safetensors: the images' tensors
/// stacked, or where their shapes differ NAME.0, NAME.1, ..., and in the metadata `names`, a JSON list. PNG: of one
/// image.
Answer answer_of(const Endpoint& endpoint, AnswerForm form, const std::vector<AnsweredImage>& images);

/// {"error": {"code", "message"}}
Answer error_answer(std::string_view code, std::string_view message);

/// JSON on one line. What is no UTF-8 is replaced.
std::string json_text(const nlohmann::ordered_json& json);

}  // namespace beit
