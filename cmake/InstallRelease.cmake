# Into a release: every library that the program needs beside what a bare Debian has, where the program will look for
# them, and the licenses of all that lies in it. Wants BEIT_PROGRAM, as it was built, and TORCH_DIR.
set(_to $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX})

# Debian's own package manager is written in C++.
set(_base "^ld-linux" "^lib(c|m|dl|rt|pthread|stdc\\+\\+|gcc_s)\\.so")
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${BEIT_PROGRAM} RESOLVED_DEPENDENCIES_VAR _libraries
     UNRESOLVED_DEPENDENCIES_VAR _missing PRE_EXCLUDE_REGEXES ${_base})
foreach(_library IN LISTS _libraries _missing)
  cmake_path(GET _library FILENAME _name)
  if(_name MATCHES "^lib(cud|cupti|cublas|cuf|cus|curand|nv|nccl|c10_cuda|torch_cuda)")
    message(FATAL_ERROR "release: expected an engine for processors alone, got one that needs ${_name}; "
                        "run `make release TORCH_INDEX=...` with an index that has such a wheel")
  endif()
endforeach()
if(_missing)
  message(FATAL_ERROR "release: expected every library that the program needs, got none of ${_missing}")
endif()
file(MAKE_DIRECTORY ${_to}/lib ${_to}/licenses)
file(COPY ${_libraries} DESTINATION ${_to}/lib FOLLOW_SYMLINK_CHAIN)
file(RPATH_SET FILE ${_to}/bin/beit NEW_RPATH "\$ORIGIN/../lib")

# The engine has its licenses beside it, a library of Debian's in its package.
if(NOT EXISTS ${TORCH_DIR}/licenses/LICENSE)
  message(FATAL_ERROR "release: expected the engine's licenses in ${TORCH_DIR}/licenses, got none; `make setup` fetches "
                      "them with the engine, of another TORCH_DIR put them there")
endif()
file(COPY ${TORCH_DIR}/licenses/ DESTINATION ${_to}/licenses/libtorch)

function(add_package package library)
  set(_copyright /usr/share/doc/${package}/copyright)
  if(NOT EXISTS ${_copyright})
    message(FATAL_ERROR "release: expected the license of ${library} in ${_copyright}, got none; install ${package} anew")
  endif()
  file(COPY_FILE ${_copyright} ${_to}/licenses/${package}.txt)
  execute_process(COMMAND dpkg-query -W -f "\${Version}" ${package} OUTPUT_VARIABLE _version)
  file(APPEND ${_to}/licenses/README.txt "${library}: ${package} ${_version} of Debian, ${package}.txt\n")
endfunction()

file(WRITE ${_to}/licenses/README.txt
     "beit itself is under the MIT license (../LICENSE). What lies beside it or was built into it:\n\n")
foreach(_library IN LISTS _libraries)
  cmake_path(GET _library FILENAME _name)
  cmake_path(IS_PREFIX TORCH_DIR ${_library} NORMALIZE _of_engine)
  if(_name MATCHES "^libg(omp|fortran)")  # the engine's come from the same source
    add_package(gcc-12-base lib/${_name})
  elseif(_of_engine)
    file(APPEND ${_to}/licenses/README.txt "lib/${_name}: PyTorch, libtorch/LICENSE\n")
  else()
    # Packages name their files as they lay before /lib became a link to /usr/lib.
    file(REAL_PATH ${_library} _real)
    string(REGEX REPLACE "^/usr/" "/" _short ${_real})
    execute_process(COMMAND dpkg-query -S ${_real} ${_short} OUTPUT_VARIABLE _owner ERROR_QUIET)
    if(NOT _owner MATCHES "^([^:]+):")
      message(FATAL_ERROR "release: expected a library out of a Debian package, whose license is known, got ${_real}")
    endif()
    add_package(${CMAKE_MATCH_1} lib/${_name})
  endif()
endforeach()
# Libraries that are headers only.
add_package(libcli11-dev "bin/beit, CLI11")
add_package(nlohmann-json3-dev "bin/beit, JSON for Modern C++")
