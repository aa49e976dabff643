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

# `cpack`, which `make release` calls: an archive with the program and all that it needs, to be unpacked anywhere on a
# bare Debian. It is the component `release`, of which `cmake --install` knows nothing.
set(_release COMPONENT release EXCLUDE_FROM_ALL)
install(PROGRAMS $<TARGET_FILE:beit_program> DESTINATION bin ${_release})
install(FILES README.md LICENSE CHANGELOG.md DESTINATION . ${_release})
install(DIRECTORY docs DESTINATION . ${_release} FILES_MATCHING PATTERN *.md PATTERN *.csv PATTERN *.svg PATTERN *.png)
install(DIRECTORY configs/ DESTINATION recipes ${_release})
install(CODE "set(BEIT_PROGRAM \"$<TARGET_FILE:beit_program>\")\nset(TORCH_DIR \"${TORCH_DIR}\")" ${_release})
install(SCRIPT cmake/InstallRelease.cmake ${_release})

string(TOLOWER "${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR}" _platform)
set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_FILE_NAME beit-${PROJECT_VERSION}-${_platform})
set(CPACK_PACKAGE_CHECKSUM SHA256)
set(CPACK_INSTALL_CMAKE_PROJECTS "${CMAKE_BINARY_DIR};beit;release;/")
set(CPACK_VERBATIM_VARIABLES ON)
include(CPack)
