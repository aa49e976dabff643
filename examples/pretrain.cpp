// pretrain TOKENIZER IMAGES OUTPUT: masked image modelling with a training loop of one's own and LibTorch's optimizer.
// The backbone is as large as the tokenizer's encoder. OUTPUT is a folder, which `beit` takes as weights afterwards.
#include <beit/images.h>
#include <beit/models.h>
#include <beit/training.h>

#include <filesystem>
#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: pretrain TOKENIZER IMAGES OUTPUT\n";
    return 2;
  }
  try {
    torch::manual_seed(0);
    beit::LoadedTokenizer tokenizer = beit::load_tokenizer(argv[1]);
    beit::LoadedMim mim;
    mim.options = tokenizer.options;
    mim.choice.tokenizer_image_size = tokenizer.options.image_size;
    mim.codes = tokenizer.codebook.codes;
    mim.tokenizer = beit::tokenizer_identity(tokenizer.model);
    beit::resolve(mim.choice, mim.options);
    mim.model = beit::MaskedImageModel(beit::mim_options(mim.options, mim.choice, mim.codes));
    torch::optim::AdamW optimizer(mim.model->parameters(), torch::optim::AdamWOptions(2e-4).weight_decay(0.05));

    const beit::Dataset images = beit::Dataset::open(std::vector<std::filesystem::path>{argv[2]});
    beit::Loader loader(images, beit::pretrain_transform(mim.options, mim.choice, /*data=*/{}, /*seed=*/0),
                        {.batch_size = 32});
    const std::filesystem::path output = argv[3];
    beit::EventWriter events(output / "events", /*done_steps=*/0);  // for TensorBoard

    int64_t step = 0;
    for (int64_t epoch = 0; epoch < 10; ++epoch) {
      loader.start(epoch);
      double loss_sum = 0;
      while (const auto batch = loader.next()) {
        const beit::MaskedTokens masked = beit::masked_tokens(batch->views[2]);
        const auto codes_M = tokenizer.model->masked_codes(batch->views[1], masked);
        const beit::MimLoss loss = mim.model->loss(batch->views[0], masked, codes_M);
        optimizer.zero_grad();
        loss.total.backward();
        torch::nn::utils::clip_grad_norm_(mim.model->parameters(), /*max_norm=*/3.0);
        optimizer.step();
        loss_sum += loss.total.item<double>();
        events.scalar("loss", loss.total.item<double>(), ++step);
      }
      std::cout << "epoch " << epoch << ": loss " << loss_sum / static_cast<double>(loader.batches()) << "\n";
    }
    beit::save(output / "model.safetensors", mim);
  } catch (const beit::Error& error) {
    std::cerr << "pretrain: " << error.what() << "\n";
    return 1;
  }
}
