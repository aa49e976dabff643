// Text for people: columns of one width, sizes in bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace beit {

/// 1.2 kB, 3.4 MB, 5.67 GB, 8.90 TB.
std::string readable_bytes(int64_t bytes);

/// Rows of one number of cells, each column as wide as its widest cell, two blanks between; the first row is the head.
/// A column without a single cell below its head is left out. What a file says is made fit for a line before.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace beit
