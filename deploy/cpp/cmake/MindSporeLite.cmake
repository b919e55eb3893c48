# Finds MindSpore Lite below MINDSPORE_LITE_ROOT in either of its two layouts and builds the programs that need it.
#   wheel: include/api, lib/libmindspore-extendrt_python.so (from 2.1 on libmindspore-lite.so),
#          lib/libmindspore_converter.so
#   SDK:   runtime/include/api, runtime/lib/libmindspore-lite.so, runtime/third_party; its converter is a program
if(EXISTS "${MINDSPORE_LITE_ROOT}/lib/libmindspore-extendrt_python.so")
  set(lite_base "${MINDSPORE_LITE_ROOT}")
  set(lite_library "${lite_base}/lib/libmindspore-extendrt_python.so")
  set(lite_converter "${lite_base}/lib/libmindspore_converter.so")
elseif(EXISTS "${MINDSPORE_LITE_ROOT}/lib/libmindspore-lite.so")
  set(lite_base "${MINDSPORE_LITE_ROOT}")
  set(lite_library "${lite_base}/lib/libmindspore-lite.so")
  set(lite_converter "${lite_base}/lib/libmindspore_converter.so")
elseif(EXISTS "${MINDSPORE_LITE_ROOT}/runtime/lib/libmindspore-lite.so")
  set(lite_base "${MINDSPORE_LITE_ROOT}/runtime")
  set(lite_library "${lite_base}/lib/libmindspore-lite.so")
  set(lite_converter "")
else()
  message(FATAL_ERROR "MINDSPORE_LITE_ROOT=${MINDSPORE_LITE_ROOT} holds neither lib/libmindspore-extendrt_python.so or "
                      "lib/libmindspore-lite.so (the unpacked wheel) nor runtime/lib/libmindspore-lite.so (the SDK)")
endif()
# The device-side package, for phones, has a runtime of the same name.
file(GLOB lite_core "${lite_base}/lib/libmindspore[_-]core.so")
if(NOT lite_core OR EXISTS "${lite_base}/lib/libmindspore-lite-train.so")
  message(FATAL_ERROR "MINDSPORE_LITE_ROOT=${MINDSPORE_LITE_ROOT} holds MindSpore Lite's device-side package, which reads "
                      ".ms alone and drives no card: take the cloud-side inference package")
endif()
if(NOT EXISTS "${lite_base}/include/api/model.h")
  message(FATAL_ERROR "MindSpore Lite's headers are missing: ${lite_base}/include/api/model.h")
endif()

# The libraries that the runtime itself needs lie beside it, in the SDK also below third_party and with the converter.
# Its own libjpeg has the system's SONAME and must not shadow it: the pictures are decoded by what was compiled against.
file(GLOB lite_folders LIST_DIRECTORIES true "${lite_base}/third_party/*" "${lite_base}/third_party/*/lib")
list(FILTER lite_folders EXCLUDE REGEX "jpeg")
list(APPEND lite_folders "${MINDSPORE_LITE_ROOT}/tools/converter/lib")
list(PREPEND lite_folders "${lite_base}/lib")
foreach(folder IN LISTS lite_folders)
  if(NOT IS_DIRECTORY "${folder}")
    list(REMOVE_ITEM lite_folders "${folder}")
  endif()
endforeach()

# DT_RPATH, not DT_RUNPATH: only the former also serves libraries that the runtime loads (libdnnl.so.2).
function(glorext_link_lite target library)
  target_include_directories(${target} SYSTEM PRIVATE "${lite_base}" "${lite_base}/include")
  target_link_libraries(${target} PRIVATE glorext_core "${library}" ${CMAKE_DL_LIBS})
  target_link_options(${target} PRIVATE -Wl,--disable-new-dtags)
  foreach(folder IN LISTS lite_folders)
    target_link_options(${target} PRIVATE "-Wl,-rpath-link,${folder}")
  endforeach()
  set_target_properties(${target} PROPERTIES BUILD_RPATH "${lite_folders}")
endfunction()

# What the programs and the library share.
add_library(glorext_lite OBJECT src/classifier.cc src/lite_device.cc src/lite_engine.cc src/lite_model.cc)
target_include_directories(glorext_lite SYSTEM PRIVATE "${lite_base}" "${lite_base}/include")
target_include_directories(glorext_lite PUBLIC include)
target_link_libraries(glorext_lite PUBLIC glorext_core)
# The wheel's library gives an empty version, so whoever knows it says it.
set(MINDSPORE_LITE_VERSION "unknown" CACHE STRING "What the results name as MindSpore Lite's version")
target_compile_definitions(glorext_lite PRIVATE GLOREXT_LITE_VERSION="${MINDSPORE_LITE_VERSION}")

add_executable(glorext_infer src/infer_main.cc src/pipeline.cc)
add_executable(glorext_classify src/classify_main.cc)
add_executable(glorext_bench src/bench_main.cc src/kernel_times.cc src/layers.cc)
# The names of kernels come as the runtime's own std::string: of the layout before C++11 where it was built for that.
file(STRINGS "${lite_library}" new_strings REGEX "__cxx11" LIMIT_COUNT 1)
if(NOT new_strings)
  set_source_files_properties(src/kernel_times.cc PROPERTIES COMPILE_DEFINITIONS "_GLIBCXX_USE_CXX11_ABI=0")
endif()
foreach(program infer classify bench)
  target_link_libraries(glorext_${program} PRIVATE glorext_lite)
  glorext_link_lite(glorext_${program} "${lite_library}")
endforeach()
if(lite_converter AND EXISTS "${lite_converter}")
  add_executable(glorext_convert src/convert_main.cc src/lite_converter.cc)
  glorext_link_lite(glorext_convert "${lite_converter}")
  # Status and MSTensor are not in the converter's own library.
  target_link_libraries(glorext_convert PRIVATE "${lite_base}/lib/libmindspore_core.so")
else()
  message(STATUS "glorext_convert is not built: this MindSpore Lite brings its converter as a program")
endif()

if(GLOREXT_LIBRARY)
  include(cmake/Library.cmake)
endif()
