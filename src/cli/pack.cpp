// `beit pack`: images from any source into tar archives that are read forward.
#include "data/pack.h"

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/interrupt.h"
#include "io/atomic_file.h"
#include "io/output_folder.h"
#include "train/progress.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

struct Pack {
  std::string output;
  PackOptions pack;
  int64_t seed = 0;
  DataOptions data;
  bool quiet = false;

  OptionList options() {
    return join(
        {{{.name = "output",
           .value = &output,
           .help = "folder for the archives, created if need be",
           .value_name = "FOLDER"},
          {.name = "name", .value = &pack.name, .help = "the archives are NAME-000000.tar and so on"},
          {.name = "shard-images",
           .value = &pack.shard_images,
           .help = "of an archive, at most",
           .range = {.least = 1}},
          {.name = "shard-bytes", .value = &pack.shard_bytes, .help = "of an archive, at most", .range = {.least = 1}},
          {.name = "shuffle", .value = &pack.shuffle, .help = "in a random order, else in that of the paths"},
          {.name = "seed", .value = &seed, .help = "of that order", .range = {.least = 0}},
          {.name = "skip-damaged", .value = &pack.skip_damaged, .help = "leave out images that do not decode"}},
         pick(describe(data), {"data", "workers"}),
         {{.name = "quiet", .value = &quiet, .help = "print warnings and errors only"}}});
  }

  void run() {
    require(!output.empty(), "pack: expected a folder for the archives, got none; set --output FOLDER");
    if (quiet) log().set_level(spdlog::level::warn);
    const auto stopped = stop_on_signal();
    const Dataset images = open_images(data.data, "data");
    require_folder_apart(output, data.data);
    const OutputFolder folder(output);
    remove_unfinished(folder.path(), pack.name + "-");

    pack.workers = data.workers;
    pack.seed = static_cast<uint64_t>(seed);
    Progress progress(0, images.size(), 1, !quiet);
    const auto write = [](const fs::path& path, const std::function<void(const ByteSink&)>& writer) {
      write_file_atomically(path, writer);
    };
    const Packed packed = pack_images(images, output, pack, write, [&](int64_t done) {
      progress.show(done, "");
      return !stopped();
    });
    progress.clear();
    for (const std::string& reason : packed.damaged) log().warn("left out: {}", reason);
    require(packed.images > 0, "pack: expected images that can be read, got {} damaged ones", packed.damaged.size());
    log().info("{} images, {} bytes, in {} archive{}{}; written to {}", packed.images, packed.bytes, packed.shards,
               packed.shards == 1 ? "" : "s",
               packed.kept_shards > 0 ? fmt::format(", {} of which were there", packed.kept_shards) : "", output);
  }
};

}  // namespace

Command pack_command() { return make_command<Pack>("pack", "Pack images into tar archives that are fast to read"); }

}  // namespace beit
