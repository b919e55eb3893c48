# libglorext, its headers, its CMake package (find_package(glorext)), its pkg-config file and the programs, in a folder
# that can be copied.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

add_library(glorext SHARED src/c_api.cc)
target_link_libraries(glorext PRIVATE glorext_lite)
target_include_directories(glorext PUBLIC "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>"
                                          "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
target_compile_features(glorext INTERFACE cxx_std_11)
glorext_link_lite(glorext "${lite_library}")
set_target_properties(glorext PROPERTIES VERSION ${GLOREXT_VERSION} SOVERSION 0)
target_link_options(glorext PRIVATE "-Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/cmake/glorext.map")
# Whoever links a program against it must find MindSpore Lite's own libraries, which lie on no path of the system.
foreach(folder IN LISTS lite_folders)
  target_link_options(glorext INTERFACE "-Wl,-rpath-link,${folder}")
  string(APPEND lite_link_flags " -Wl,-rpath-link,${folder}")
endforeach()
# MindSpore Lite stays where it is: the library finds it there, also once it is installed.
set_target_properties(glorext PROPERTIES INSTALL_RPATH "${lite_folders}")


set(programs glorext_infer glorext_classify glorext_bench glorext_pixels glorext_compare)
if(TARGET glorext_convert)
  list(APPEND programs glorext_convert)
endif()
set_target_properties(${programs} PROPERTIES INSTALL_RPATH "${lite_folders}")
install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS glorext EXPORT glorextTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/glorext DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/glorext)
install(EXPORT glorextTargets NAMESPACE glorext:: FILE glorextConfig.cmake DESTINATION ${package_folder})
write_basic_package_version_file(glorextConfigVersion.cmake VERSION ${GLOREXT_VERSION} COMPATIBILITY SameMinorVersion)
configure_file(cmake/glorext.pc.in glorext.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/glorextConfigVersion.cmake DESTINATION ${package_folder})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/glorext.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
