// tokens TOKENIZER IMAGES...: prints each image's grid of visual tokens.
// TOKENIZER is a file of weights or a run folder; IMAGES are files, folders, lists or tar archives.
#include <beit/images.h>
#include <beit/models.h>

#include <filesystem>
#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: tokens TOKENIZER IMAGES...\n";
    return 2;
  }
  try {
    const torch::NoGradGuard no_grad;
    beit::LoadedTokenizer tokenizer = beit::load_tokenizer(argv[1]);
    const beit::Grid grid = beit::grid_of(tokenizer.options);

    const std::vector<std::filesystem::path> sources(argv + 2, argv + argc);
    const beit::Dataset images = beit::Dataset::open(sources);
    beit::Loader loader(images, beit::evaluation_transform(tokenizer.options),
                        beit::evaluation_loading(/*data=*/{}, /*batch_size=*/64));
    loader.start(/*epoch=*/0);
    while (const auto batch = loader.next()) {
      const auto codes_BN = tokenizer.model->codes(batch->views[0]);
      for (int64_t row = 0; row < codes_BN.size(0); ++row) {
        std::cout << images.path(batch->indices_B[row].item<int64_t>()) << "\n"
                  << codes_BN[row].reshape({grid.rows, grid.columns}) << "\n";
      }
    }
  } catch (const beit::Error& error) {
    std::cerr << "tokens: " << error.what() << "\n";
    return 1;
  }
}
