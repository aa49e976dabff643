# `cmake --install`: the program, the library with its headers, and the CMake package `beit` (target beit::beit).
include(CMakePackageConfigHelpers)

set(_package lib/cmake/beit)
install(TARGETS beit EXPORT beit ARCHIVE DESTINATION lib)
install(TARGETS beit_program RUNTIME DESTINATION bin)
install(EXPORT beit NAMESPACE beit:: FILE beitTargets.cmake DESTINATION ${_package})
install(SCRIPT cmake/InstallHeaders.cmake)

configure_file(cmake/beitConfig.cmake.in package/beitConfig.cmake @ONLY)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/beitConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/package/beitConfig.cmake ${CMAKE_BINARY_DIR}/package/beitConfigVersion.cmake
              cmake/FindTorchWheel.cmake DESTINATION ${_package})
