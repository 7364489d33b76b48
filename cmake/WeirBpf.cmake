# weir_bpf_object(name SOURCE x.bpf.c): compiles for BPF and makes the libbpf skeleton x.skel.h;
# link the INTERFACE library `name` to include it.
find_program(BPF_CLANG NAMES clang clang-14 REQUIRED)
find_program(BPFTOOL bpftool REQUIRED PATHS /usr/sbin)
find_program(BPF_STRIP NAMES llvm-strip llvm-strip-14 REQUIRED)
function(weir_bpf_object name)
  cmake_parse_arguments(ARG "" "SOURCE" "DEPENDS" ${ARGN})
  string(REGEX REPLACE "\\.bpf\\.c$" "" base ${ARG_SOURCE})
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${base}.bpf.o)
  set(skeleton ${CMAKE_CURRENT_BINARY_DIR}/${base}.skel.h)
  add_custom_command(OUTPUT ${object} ${skeleton}
    COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -g -O2 -Wall -Wextra -Werror -Wno-unused-parameter
            -D__TARGET_ARCH_${CMAKE_SYSTEM_PROCESSOR}
            -I${CMAKE_SOURCE_DIR}/bpf/include -I${CMAKE_SOURCE_DIR}
            -I/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
            -c ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_SOURCE} -o ${object}
    COMMAND ${BPF_STRIP} -g ${object}
    COMMAND ${BPFTOOL} gen skeleton ${object} name weir_${base} > ${skeleton}
    DEPENDS ${ARG_SOURCE} ${ARG_DEPENDS} VERBATIM)
  add_custom_target(${name}_gen DEPENDS ${object} ${skeleton})
  add_library(${name} INTERFACE)
  add_dependencies(${name} ${name}_gen)
  target_include_directories(${name} SYSTEM INTERFACE ${CMAKE_CURRENT_BINARY_DIR})
  set_property(GLOBAL PROPERTY WEIR_BPF_OBJECT_${base} ${object})
endfunction()
