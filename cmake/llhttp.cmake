# llhttp: the system's library where there is one that is strict by default (9.0 and later), else
# the C sources that Debian's node-llhttp package ships, compiled strict. An older system build is
# loose ("Host : a" passes) and is never linked.
pkg_check_modules(LLHTTP_SYSTEM QUIET IMPORTED_TARGET libllhttp>=9)
if(LLHTTP_SYSTEM_FOUND)
  add_library(hw_llhttp INTERFACE)
  target_link_libraries(hw_llhttp INTERFACE PkgConfig::LLHTTP_SYSTEM)
else()
  find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS /usr/share/llhttp NO_DEFAULT_PATH
    NO_CMAKE_FIND_ROOT_PATH)
  find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp NO_DEFAULT_PATH
    NO_CMAKE_FIND_ROOT_PATH)
  if(NOT LLHTTP_SOURCE_DIR OR NOT LLHTTP_INCLUDE_DIR)
    message(FATAL_ERROR "llhttp not found: install Debian's node-llhttp (its C sources are used)")
  endif()
  add_library(hw_llhttp STATIC ${LLHTTP_SOURCE_DIR}/api.c ${LLHTTP_SOURCE_DIR}/http.c
    ${LLHTTP_SOURCE_DIR}/llhttp.c)
  target_include_directories(hw_llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
  target_compile_definitions(hw_llhttp PRIVATE LLHTTP_STRICT_MODE=1)
  target_compile_options(hw_llhttp PRIVATE -w)
endif()
