# beit_add_kernels(TARGET SOURCE...): the sources, once for each level of vector instructions that LibTorch chooses from
# when it runs. CPU_CAPABILITY names the level, as in LibTorch's own headers; each source's symbols stand in a namespace
# of that name, so that no code for a newer processor is shared with the rest (tests/core/kernel_symbols.sh looks).
function(beit_add_kernels target)
  set(levels DEFAULT)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    list(APPEND levels AVX2 AVX512)
  endif()
  set(AVX2_OPTIONS -mavx2 -mfma -mf16c)
  set(AVX512_OPTIONS ${AVX2_OPTIONS} -mavx512f -mavx512bw -mavx512vl -mavx512dq)
  foreach(level IN LISTS levels)
    set(kernels ${target}_kernels_${level})
    add_library(${kernels} OBJECT ${ARGN})
    target_include_directories(${kernels} PRIVATE ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(${kernels} PRIVATE torch beit_options)
    target_compile_definitions(${kernels} PRIVATE CPU_CAPABILITY=${level} CPU_CAPABILITY_${level})
    # Vectors as arguments never leave a file: how they are passed is nobody's concern. g++ 12 takes what its own
    # intrinsics leave open on purpose for a mistake (GCC bug 105593).
    # Without inlining, functions of the standard library would be shared with the rest.
    target_compile_options(${kernels} PRIVATE ${${level}_OPTIONS} $<$<CONFIG:Debug>:-O2>
                                              $<$<CXX_COMPILER_ID:GNU>:-Wno-psabi;-Wno-uninitialized;-Wno-maybe-uninitialized>)
    set_target_properties(${kernels} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${kernels}>)
  endforeach()
endfunction()
