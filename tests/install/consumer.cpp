// What somebody writes who uses the library: the visual tokens of an image, and an event for TensorBoard.
#include <beit/images.h>
#include <beit/models.h>
#include <beit/training.h>

#include <iostream>

int main() {
  torch::manual_seed(0);
  beit::Tokenizer tokenizer(
      beit::TokenizerOptions{.encoder = {.grid = {.rows = 2, .columns = 2}, .width = 8, .depth = 1, .heads = 2},
                             .decoder_width = 8,
                             .decoder_depth = 1,
                             .decoder_heads = 2,
                             .quantizer = {.codes = 4, .width = 4, .kmeans_start = false}});
  tokenizer->eval();
  const auto file = beit::encode_png(torch::randint(256, {40, 50, 3}, torch::kUInt8));
  const auto pixels = beit::decode_image(file, "a random image");
  const auto image = beit::to_float(beit::evaluation_pixels(pixels, {.height = 32, .width = 32}));
  std::cout << tokenizer->codes(image.unsqueeze(0)) << "\n";
  beit::EventWriter("events", 0).image("image", pixels, 1);
}
