#include "cli/command.h"

namespace beit {

std::vector<Command> all_commands() {
  return {vqkd_command(),         tokenize_command(), codes_command(),         codes_mosaic_command(),
          codes_shared_command(), decode_command(),   decode_images_command(), pretrain_command(),
          finetune_command(),     eval_command(),     classify_command(),      segment_command(),
          segment_test_command(), probe_command(),    features_command(),      serve_command(),
          convert_command(),      export_command(),   inspect_command(),       pack_command(),
          recipes_command(),      runs_command(),     curves_command(),        report_command(),
          plan_command(),         bench_command(),    data_check_command(),    data_bench_command(),
          data_dump_command()};
}

}  // namespace beit
