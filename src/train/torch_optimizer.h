// The state of torch.optim.AdamW out of a file that the published code or a program like it saved.
#pragma once

#include "train/export.h"

namespace beit {

/// A checkpoint that `--resume` takes, from a file of torch.save({"model": ..., "optimizer": optimizer.state_dict()}):
/// weights, the moments of each parameter and the steps taken. PyTorch numbers the parameters as the groups list them;
/// the published code's two groups, decay and no decay, list them in the model's order, which is the file's. `network`
/// is the file's (whole_network). Error that names the file: no tokenizer or pre-trained model, no optimizer's state,
/// one that is not of this network.
Exported export_checkpoint(const TensorFile& given, const NetworkFile& file, torch::nn::Module& network);

}  // namespace beit
