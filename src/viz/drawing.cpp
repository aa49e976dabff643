#include "viz/drawing.h"

#include <algorithm>
#include <string>

namespace beit {
namespace {

// Rows of three dots from the top, the leftmost dot in the highest bit.
using Letter = std::array<uint8_t, 5>;

constexpr std::array<Letter, 10> kDigits{{{7, 5, 5, 5, 7},
                                          {2, 6, 2, 2, 7},
                                          {7, 1, 7, 4, 7},
                                          {7, 1, 7, 1, 7},
                                          {5, 5, 7, 1, 1},
                                          {7, 4, 7, 1, 7},
                                          {7, 4, 7, 5, 7},
                                          {7, 1, 1, 1, 1},
                                          {7, 5, 7, 5, 7},
                                          {7, 5, 7, 1, 7}}};

constexpr std::array<Letter, 26> kCapitals{
    {{2, 5, 7, 5, 5}, {6, 5, 6, 5, 6}, {3, 4, 4, 4, 3}, {6, 5, 5, 5, 6}, {7, 4, 6, 4, 7}, {7, 4, 6, 4, 4},
     {3, 4, 5, 5, 3}, {5, 5, 7, 5, 5}, {7, 2, 2, 2, 7}, {1, 1, 1, 5, 2}, {5, 5, 6, 5, 5}, {4, 4, 4, 4, 7},
     {5, 7, 7, 5, 5}, {6, 5, 5, 5, 5}, {2, 5, 5, 5, 2}, {6, 5, 6, 4, 4}, {2, 5, 5, 2, 1}, {6, 5, 6, 5, 5},
     {3, 4, 2, 1, 6}, {7, 2, 2, 2, 2}, {5, 5, 5, 5, 7}, {5, 5, 5, 5, 2}, {5, 5, 7, 7, 5}, {5, 5, 2, 5, 5},
     {5, 5, 2, 2, 2}, {7, 1, 2, 4, 7}}};

Letter letter_of(char character) {
  if (character >= '0' && character <= '9') return kDigits[static_cast<size_t>(character - '0')];
  if (character >= 'A' && character <= 'Z') return kCapitals[static_cast<size_t>(character - 'A')];
  switch (character) {
    case '%': return {5, 1, 2, 4, 5};
    case '.': return {0, 0, 0, 0, 2};
    case ',': return {0, 0, 0, 2, 4};
    case '-': return {0, 0, 7, 0, 0};
    case '(': return {1, 2, 2, 2, 1};
    case ')': return {4, 2, 2, 2, 4};
    default: return {};
  }
}

}  // namespace

void fill_rectangle(const torch::Tensor& pixels_HW3, int64_t top, int64_t left, int64_t height, int64_t width,
                    const Ink& ink) {
  const auto inside = [](int64_t place, int64_t length) { return std::clamp<int64_t>(place, 0, length); };
  const int64_t rows = pixels_HW3.size(0), columns = pixels_HW3.size(1);
  const auto part_HW3 = pixels_HW3.slice(0, inside(top, rows), inside(top + height, rows))
                            .slice(1, inside(left, columns), inside(left + width, columns));
  for (size_t channel = 0; channel < ink.size(); ++channel)
    part_HW3.select(2, static_cast<int64_t>(channel)).fill_(ink[channel]);
}

void outline_rectangle(const torch::Tensor& pixels_HW3, int64_t top, int64_t left, int64_t height, int64_t width,
                       int64_t thickness, const Ink& ink) {
  fill_rectangle(pixels_HW3, top, left, thickness, width, ink);
  fill_rectangle(pixels_HW3, top + height - thickness, left, thickness, width, ink);
  fill_rectangle(pixels_HW3, top, left, height, thickness, ink);
  fill_rectangle(pixels_HW3, top, left + width - thickness, height, thickness, ink);
}

void draw_text(const torch::Tensor& pixels_HW3, std::string_view text, int64_t top, int64_t left, int64_t dot,
               const Ink& ink) {
  for (const char character : text) {
    const Letter letter = letter_of(character);
    for (int64_t row = 0; row < 5; ++row) {
      for (int64_t column = 0; column < 3; ++column) {
        if ((letter[static_cast<size_t>(row)] >> (2 - column)) & 1)
          fill_rectangle(pixels_HW3, top + row * dot, left + column * dot, dot, dot, ink);
      }
    }
    left += 4 * dot;
  }
}

void draw_number(const torch::Tensor& pixels_HW3, int64_t number, int64_t top, int64_t left, int64_t dot,
                 const Ink& ink) {
  draw_text(pixels_HW3, std::to_string(number), top, left, dot, ink);
}

void put_picture(const torch::Tensor& pixels_HW3, const torch::Tensor& part_HW3, int64_t top, int64_t left) {
  pixels_HW3.slice(0, top, top + part_HW3.size(0)).slice(1, left, left + part_HW3.size(1)).copy_(part_HW3);
}

int64_t text_width(std::string_view text, int64_t dot) {
  return text.empty() ? 0 : static_cast<int64_t>(text.size()) * 4 * dot - dot;
}

}  // namespace beit
