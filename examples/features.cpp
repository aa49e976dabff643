// features WEIGHTS OUTPUT IMAGES...: the mean patch token after the last block, [images, width], as safetensors.
// WEIGHTS are a backbone's, ours or published: a file, a run folder, a folder of timm or Hugging Face.
#include <beit/images.h>
#include <beit/models.h>

#include <filesystem>
#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: features WEIGHTS OUTPUT IMAGES...\n";
    return 2;
  }
  try {
    const torch::NoGradGuard no_grad;
    beit::LoadedBackbone backbone = beit::load_backbone(argv[1]);

    const std::vector<std::filesystem::path> sources(argv + 3, argv + argc);
    const beit::Dataset images = beit::Dataset::open(sources);
    beit::Loader loader(images, beit::evaluation_transform(backbone.options),
                        beit::evaluation_loading(/*data=*/{}, /*batch_size=*/64));
    std::vector<torch::Tensor> features_BD;
    loader.start(/*epoch=*/0);
    while (const auto batch = loader.next()) {
      const auto tokens_BTD = backbone.model->tokens(beit::normalise(batch->views[0], backbone.input));
      features_BD.push_back(beit::pool(tokens_BTD, beit::FeaturePooling::kMean));
    }
    beit::write_safetensors(argv[2], {{"features", torch::cat(features_BD)}});
  } catch (const beit::Error& error) {
    std::cerr << "features: " << error.what() << "\n";
    return 1;
  }
}
