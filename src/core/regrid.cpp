#include "core/regrid.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace beit {
namespace {

/// [B, N, D] as a picture [B, D, rows, columns].
torch::Tensor as_picture(const torch::Tensor& map_BND, const Grid& grid) {
  return map_BND.transpose(1, 2).reshape({map_BND.size(0), map_BND.size(2), grid.rows, grid.columns});
}

}  // namespace

torch::Tensor resize_images(const torch::Tensor& images_BCHW, int64_t height, int64_t width) {
  require(images_BCHW.dim() == 4 && images_BCHW.size(1) == 3 && images_BCHW.is_floating_point(),
          "teacher: expected floating-point images [B, 3, H, W] in [0, 1], got {} [{}]; scale bytes by 1/255",
          torch::toString(images_BCHW.scalar_type()), fmt::join(images_BCHW.sizes(), ", "));
  const auto x_BCHW = images_BCHW.to(torch::kFloat32);
  if (x_BCHW.size(2) == height && x_BCHW.size(3) == width) return x_BCHW;
  // The filter's negative lobes leave [0, 1] at edges, which a picture of bytes cannot.
  return at::_upsample_bicubic2d_aa(x_BCHW.contiguous(), {height, width}, false).clamp_(0, 1);
}

torch::Tensor resize_map(const torch::Tensor& map_BND, const Grid& from, const Grid& to) {
  if (from == to) return map_BND;
  const auto map_BDHW = at::_upsample_bilinear2d_aa(as_picture(map_BND, from), {to.rows, to.columns}, false);
  return map_BDHW.flatten(2).transpose(1, 2).contiguous();
}

torch::Tensor resize_positions(const torch::Tensor& positions_1TD, const Grid& from, const Grid& to, bool antialias) {
  require(positions_1TD.dim() == 3 && positions_1TD.size(0) == 1 && positions_1TD.size(1) == from.patches() + 1,
          "position embedding: expected [1, {}, D] for {}x{} patches and CLS, got [{}]; check the file's patch and "
          "image size",
          from.patches() + 1, from.rows, from.columns, fmt::join(positions_1TD.sizes(), ", "));
  if (from == to) return positions_1TD;
  const auto dtype = positions_1TD.scalar_type();
  const auto picture = as_picture(positions_1TD.slice(1, 1).to(torch::promote_types(dtype, torch::kFloat32)), from);
  const auto resized = antialias ? at::_upsample_bicubic2d_aa(picture, {to.rows, to.columns}, false)
                                 : at::upsample_bicubic2d(picture, {to.rows, to.columns}, false);
  return torch::cat({positions_1TD.slice(1, 0, 1), resized.flatten(2).transpose(1, 2).to(dtype)}, 1);
}

Grid teacher_grid(int64_t image_size, int64_t patch_size, const Grid& own, const Grid& student) {
  require(image_size >= 0 && image_size % patch_size == 0,
          "teacher: expected an image size that is a multiple of its patch of {} pixels, got {}; change "
          "--teacher-image-size, 0 takes the teacher's own",
          patch_size, image_size);
  const int64_t shorter = image_size > 0 ? image_size / patch_size : std::min(own.rows, own.columns);
  const int64_t student_shorter = std::min(student.rows, student.columns);
  const auto scaled = [&](int64_t patches) {
    return std::llround(static_cast<double>(shorter * patches) / static_cast<double>(student_shorter));
  };
  return {.rows = scaled(student.rows), .columns = scaled(student.columns)};
}

}  // namespace beit
