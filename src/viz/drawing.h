// Rectangles and small text in pictures. Pixels are uint8 [H, W, 3] on the CPU and are changed in place; what would
// stand outside of the picture is left out.
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace beit {

using Ink = std::array<uint8_t, 3>;  ///< red, green, blue
inline constexpr Ink kNumberInk{60, 60, 60};

void fill_rectangle(const torch::Tensor& pixels_HW3, int64_t top, int64_t left, int64_t height, int64_t width,
                    const Ink& ink);

/// Within the rectangle, `thickness` pixels wide.
void outline_rectangle(const torch::Tensor& pixels_HW3, int64_t top, int64_t left, int64_t height, int64_t width,
                       int64_t thickness, const Ink& ink);

/// Draws text in letters of 3 by 5 dots, each `dot` pixels wide, its top left corner at (top, left): digits, capital
/// letters, and % . , - ( ); any other letter is a blank.
void draw_text(const torch::Tensor& pixels_HW3, std::string_view text, int64_t top, int64_t left, int64_t dot,
               const Ink& ink = kNumberInk);
void draw_number(const torch::Tensor& pixels_HW3, int64_t number, int64_t top, int64_t left, int64_t dot,
                 const Ink& ink = kNumberInk);

/// Copies a part into the picture, its top left corner at (top, left), where it must have room.
void put_picture(const torch::Tensor& pixels_HW3, const torch::Tensor& part_HW3, int64_t top, int64_t left);

/// Pixels that draw_text() takes.
inline int64_t text_height(int64_t dot) { return 5 * dot; }
int64_t text_width(std::string_view text, int64_t dot);

}  // namespace beit
