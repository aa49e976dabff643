// PyTorch's own files: a pickle of tensors, and their storages beside it.
#pragma once

#include <filesystem>

#include "io/safetensors.h"

namespace beit {

/// Reads what torch.save() and TorchScript write: the zip form (since 1.6) and the legacy form. The object is a dict,
/// nested or not, or a TorchScript module. Names of nested members are joined by dots, list items are named by their
/// number; numbers and texts become metadata under the same names, and so do the attributes of an argparse.Namespace.
/// Other objects, such as optimizers, numpy arrays or a module's code, are skipped. Nothing of Python or TorchScript is
/// run (io/pickle.h). Tensors are on the CPU, keep their strides and share storages as they did when saved. They are
/// views of a private mapping, which they keep alive; only bool and unaligned storages are copied, which in the legacy
/// form are most of them. Checksums of the zip form are not compared.
/// Error, which names file, member and offset: a damaged or lying file, a tensor that reaches out of its storage or is
/// larger than it, one that is sparse, quantised or nested, a pickle that names what runs code when Python loads it,
/// content that costs more than the file's size and 64 MiB.
TensorFile read_pth(const std::filesystem::path& path);

}  // namespace beit
