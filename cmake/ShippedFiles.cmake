# Writes the C++ source OUTPUT, which includes HEADER and holds the texts of files (src/base/shipped_file.h): for each
# name in TABLES a function of this name that gives those which the variable of this name lists. NAMES is the part of
# their paths that names them: STEM or FILENAME.
function(write_table function files)
  string(APPEND _text "const std::vector<ShippedFile>& ${function}() {\n")
  string(APPEND _text "  static const std::vector<ShippedFile> files{\n")
  foreach(_file IN LISTS files)
    cmake_path(GET _file ${NAMES} _name)
    file(READ ${_file} _content)
    file(SHA256 ${_file} _hash)
    string(APPEND _text "      {\"${_name}\", R\"shipped(${_content})shipped\", \"${_hash}\"},\n")
  endforeach()
  string(APPEND _text "  };\n  return files;\n}\n\n")
  file(APPEND ${OUTPUT} "${_text}")
endfunction()

file(WRITE ${OUTPUT} "#include \"${HEADER}\"\n\nnamespace beit {\n\n")
foreach(_table IN LISTS TABLES)
  write_table(${_table} "${${_table}}")
endforeach()
file(APPEND ${OUTPUT} "}  // namespace beit\n")
