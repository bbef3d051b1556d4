# SPDX-License-Identifier: MIT
#
# What `cmake --install` does, in two components: Runtime is the shared library that programs load, and
# Development is all that is needed to build some.
#
# Wherever it is put, and moved to afterwards, the CMake package and libmproc.pc find the rest from their
# own place; where CMAKE_INSTALL_LIBDIR or _INCLUDEDIR is an absolute path, that stands in them.

include(CMakePackageConfigHelpers)

# ---- libraries and headers -----------------------------------------------------------------------

# The kinds have a set of exports each, so that a distribution may leave the static library out, or put
# it in a package of its own, together with mproc-static-targets*.cmake.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mproc)
foreach(library IN LISTS libraries)
  string(REPLACE "mproc_" "" kind ${library})
  install(TARGETS ${library} EXPORT mproc-${kind}-targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT Development
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT Runtime
      NAMELINK_COMPONENT Development)
  install(EXPORT mproc-${kind}-targets NAMESPACE mproc::
    DESTINATION ${package_dir} COMPONENT Development)
endforeach()
install(DIRECTORY include/mproc DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT Development)

# ---- how others find them ------------------------------------------------------------------------

configure_package_config_file(src/mproc-config.cmake.in mproc-config.cmake
  INSTALL_DESTINATION ${package_dir}
  NO_SET_AND_CHECK_MACRO
  NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(mproc-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/mproc-config.cmake
  ${PROJECT_BINARY_DIR}/mproc-config-version.cmake
  DESTINATION ${package_dir} COMPONENT Development)

if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
  set(pc_libdir ${CMAKE_INSTALL_LIBDIR})
else()
  file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" pc_prefix "\${pcfiledir}/${pc_prefix}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
else()
  set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
set(pc_private_libraries ${CMAKE_THREAD_LIBS_INIT})
foreach(library IN LISTS system_libraries)
  if(NOT library MATCHES "::")
    string(APPEND pc_private_libraries " -l${library}")
  endif()
endforeach()
configure_file(src/libmproc.pc.in libmproc.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/libmproc.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT Development)

# ---- man pages -----------------------------------------------------------------------------------

# A page has all the names that it gives itself under NAME: `man mproc_pool_map_batch` shows the page of
# mproc_pool_map.
file(GLOB pages CONFIGURE_DEPENDS src/man/*.[37])
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${pages})
foreach(page IN LISTS pages)
  get_filename_component(file ${page} NAME)
  string(REGEX REPLACE ".*\\." "" section ${file})
  set(files ${page})
  file(STRINGS ${page} names REGEX "^\\.Nm mproc_")
  foreach(name IN LISTS names)
    string(REGEX REPLACE "^\\.Nm ([a-z0-9_]+).*" "\\1.${section}" link ${name})
    if(NOT link STREQUAL file)
      file(WRITE ${PROJECT_BINARY_DIR}/man/${link} ".so man${section}/${file}\n")
      list(APPEND files ${PROJECT_BINARY_DIR}/man/${link})
    endif()
  endforeach()
  install(FILES ${files} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT Development)
endforeach()
