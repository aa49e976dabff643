# The engine: an imported target `torch` made from a PyTorch wheel's headers and libraries, or from another LibTorch.
# Wants TORCH_DIR, the folder that holds `include` and `lib`; sets TORCH_VERSION, TORCH_HAS_CUDA, TORCH_HAS_NCCL and
# TORCH_NVIDIA_INCLUDES. Needs no Python, nvcc or CUDA toolkit, also where the wheel is a CUDA build: what its libraries
# need is found by their own run path.

set(_torch_from 2.11)
set(_torch_to 2.13)

# Where the version stands has moved over the releases.
unset(TORCH_VERSION)
foreach(_header IN ITEMS torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(NOT TORCH_VERSION AND EXISTS "${TORCH_DIR}/include/${_header}")
    file(STRINGS "${TORCH_DIR}/include/${_header}" _lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
    string(REGEX MATCHALL "[0-9]+" _numbers "${_lines}")
    list(JOIN _numbers "." TORCH_VERSION)
  endif()
endforeach()

if(NOT TORCH_VERSION OR NOT EXISTS "${TORCH_DIR}/lib/libtorch_cpu.so" OR NOT EXISTS "${TORCH_DIR}/lib/libc10.so")
  message(FATAL_ERROR "torch: expected the headers and libraries of LibTorch in TORCH_DIR, got '${TORCH_DIR}'; "
                      "run `make setup`, or give another TORCH_DIR")
endif()
string(REGEX MATCH "^[0-9]+\\.[0-9]+" _minor "${TORCH_VERSION}")
if(_minor VERSION_LESS _torch_from OR _minor VERSION_GREATER _torch_to)
  message(FATAL_ERROR "torch: expected version ${_torch_from} to ${_torch_to}, got ${TORCH_VERSION} in '${TORCH_DIR}'; "
                      "give another TORCH_DIR, or leave it out and run `make setup`")
endif()
# Its strings must be ours: the C++11 form, which every wheel of these versions has.
file(STRINGS "${TORCH_DIR}/lib/libc10.so" _cxx11 REGEX "__cxx11" LIMIT_COUNT 1)
if(NOT _cxx11)
  message(FATAL_ERROR "torch: expected libraries with the C++11 ABI, got the old one in '${TORCH_DIR}'; "
                      "give another TORCH_DIR, or leave it out and run `make setup`")
endif()

if(EXISTS "${TORCH_DIR}/lib/libtorch_cuda.so")
  set(TORCH_HAS_CUDA ON)
else()
  set(TORCH_HAS_CUDA OFF)
endif()
# NVIDIA's packages beside the wheel, each with headers of its own: what ProcessGroupNCCL's header includes.
file(GLOB TORCH_NVIDIA_INCLUDES "${TORCH_DIR}/../nvidia/*/include")
set(TORCH_HAS_NCCL ${TORCH_HAS_CUDA})
foreach(_header IN ITEMS nccl.h cuda_runtime_api.h crt/host_defines.h nv/target cublas_v2.h cusparse.h cusolverDn.h)
  unset(_found)
  find_path(_found ${_header} PATHS ${TORCH_NVIDIA_INCLUDES} NO_CACHE NO_DEFAULT_PATH)
  if(NOT _found)
    set(TORCH_HAS_NCCL OFF)
  endif()
endforeach()
message(STATUS "torch ${TORCH_VERSION}, ${TORCH_DIR}, CUDA: ${TORCH_HAS_CUDA}, NCCL: ${TORCH_HAS_NCCL}")
if(TARGET torch)
  return()
endif()

foreach(_library IN ITEMS c10 torch_cpu c10_cuda torch_cuda)
  if(EXISTS "${TORCH_DIR}/lib/lib${_library}.so")
    add_library(torch_wheel::${_library} SHARED IMPORTED)
    set_target_properties(torch_wheel::${_library} PROPERTIES IMPORTED_LOCATION "${TORCH_DIR}/lib/lib${_library}.so"
                                                              IMPORTED_NO_SONAME ON)
  endif()
endforeach()

add_library(torch INTERFACE IMPORTED)
# System headers, and after Debian's own: the wheel brings copies of other libraries' headers (fmt).
target_compile_options(torch INTERFACE "SHELL:-idirafter \"${TORCH_DIR}/include\""
                                       "SHELL:-idirafter \"${TORCH_DIR}/include/torch/csrc/api/include\"")
target_link_libraries(torch INTERFACE torch_wheel::torch_cpu torch_wheel::c10)
# Its own OpenMP, whose name differs from wheel to wheel: a second one would have threads of its own.
file(GLOB _openmp "${TORCH_DIR}/lib/libgomp*.so*" "${TORCH_DIR}/../torch.libs/libgomp*.so*")
if(NOT _openmp)
  message(WARNING "torch: expected its libgomp in '${TORCH_DIR}/lib', found none; the compiler's is linked in its place")
  set(_openmp gomp)
endif()
list(GET _openmp 0 _openmp)
target_link_libraries(torch INTERFACE ${_openmp})
# What the libraries themselves need is the loader's concern: it knows their run paths better than ld does.
target_link_options(torch INTERFACE LINKER:--allow-shlib-undefined)
if(TORCH_HAS_CUDA)
  # GPU kernels register themselves when their library is loaded; none of our code names it, so keep it in.
  target_link_libraries(torch INTERFACE -Wl,--push-state,--no-as-needed torch_wheel::torch_cuda torch_wheel::c10_cuda
                                        -Wl,--pop-state)
endif()
