// `beit convert`: weights from one library's form to another's.
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/images.h"
#include "io/atomic_file.h"
#include "train/export.h"
#include "train/models.h"
#include "train/torch_optimizer.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

struct Convert {
  std::string input, output, to = "safetensors";
  bool half = false, optimizer = false;
  LoadOptions load;

  OptionList options() {
    return join({{{.name = "IN",
                   .value = &input,
                   .help = "file, folder or run of weights, in any form that `beit inspect` knows",
                   .value_name = "IN",
                   .positional = true},
                  {.name = "OUT",
                   .value = &output,
                   .help = "safetensors file; for timm and hf a folder, created if need be",
                   .value_name = "OUT",
                   .positional = true},
                  {.name = "to",
                   .value = &to,
                   .help = "whose form: the published code's, timm's, Hugging Face's, or ours",
                   .choices = {"reference", "timm", "hf", "safetensors"}},
                  {.name = "half", .value = &half, .help = "write float16"},
                  {.name = "optimizer",
                   .value = &optimizer,
                   .help = "take the optimizer's state along: OUT is a checkpoint for --resume"}},
                 describe(load)});
  }

  void run() {
    require(!input.empty() && !output.empty(), "convert: expected IN and OUT, got {}; say `beit convert IN OUT`",
            input.empty() ? "neither" : "IN alone");
    require(!optimizer || (to == "safetensors" && !half && load.image_size == 0),
            "convert: expected --optimizer with --to safetensors, without --half and --image-size, got others; a "
            "checkpoint is ours alone, of the sizes that were trained");
    const bool folder = to == "timm" || to == "hf";
    const fs::path target = folder ? fs::path(output) / "model.safetensors" : fs::path(output);
    require_apart(target, input, {});
    if (folder) require_ours_to_fill(input);

    const TensorFile given = read_weights(input);
    NetworkFile file = as_network(given, input, load);
    require(is_ours(file.network), "{}: expected a network of BEiT v2, got {}; `beit inspect` shows what a file holds",
            input, readable(file.network));
    const auto network = whole_network(file);
    if (half) halve(file);
    const Exported exported = optimizer           ? export_checkpoint(given, file, *network)
                              : to == "hf"        ? export_hugging_face(file)
                              : to == "timm"      ? export_timm(file)
                              : to == "reference" ? export_reference(file)
                                                  : export_own(file);
    if (folder) {
      std::error_code error;
      fs::create_directories(output, error);
      require(!error, "{}: expected to create the folder, got \"{}\"; choose another OUT", output, error.message());
    }
    write_safetensors(target, exported.tensors, exported.metadata);
    if (folder) write_file_atomically(fs::path(output) / "config.json", exported.config_json);
    report(file, exported);
  }

  /// Nothing but an earlier conversion may be written over.
  void require_ours_to_fill(const fs::path& read) const {
    std::error_code none;
    require(!fs::equivalent(output, read, none), "{}: expected a folder apart from what is read; choose another OUT",
            output);
    for (const auto& entry : fs::directory_iterator(output, none)) {
      const auto name = entry.path().filename();
      require(name == "model.safetensors" || name == "config.json",
              "{}: expected a new folder, or one of an earlier conversion, got one that holds {}; choose another OUT",
              output, name.string());
    }
  }

  void report(const NetworkFile& file, const Exported& exported) const {
    log().info("{}: {}, {} names", input, readable(file.network), file.form);
    for (const std::string& part : file.left_out) {
      if (!optimizer || !part.starts_with("optimizer.")) log().info("left out, no part of the network: {}", part);
    }
    for (const std::string& part : exported.left_out) log().info("left out, has no place in that form: {}", part);
    log().info("{} tensors written to {}", exported.tensors.size(), output);
  }
};

}  // namespace

Command convert_command() {
  return make_command<Convert>("convert", "Write weights in the form that another program reads");
}

}  // namespace beit
