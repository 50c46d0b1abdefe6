# Zig's clang, which compiles for any processor and against a C library of any age, with its own C++ library linked in.
# The environment says where it is, XNORNET_ZIG, and for what, XNORNET_ZIG_TARGET: "aarch64-linux-gnu.2.17" is ARM
# with glibc 2.17 or newer, "x86_64-windows-gnu" is Windows, "aarch64-macos.11.0" is macOS 11 or newer on Apple silicon.
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "$ENV{XNORNET_ZIG_TARGET}")
if("$ENV{XNORNET_ZIG_TARGET}" MATCHES "-windows-")
  set(CMAKE_SYSTEM_NAME Windows)
  set(CMAKE_RC_COMPILER "$ENV{XNORNET_ZIG}") # CMake wants one, though nothing here does
elseif("$ENV{XNORNET_ZIG_TARGET}" MATCHES "-macos")
  set(CMAKE_SYSTEM_NAME Darwin)
  set(CMAKE_STRIP "") # that of another system would break the signature, without which nothing runs there
else()
  set(CMAKE_SYSTEM_NAME Linux)
endif()
set(CMAKE_CXX_COMPILER "$ENV{XNORNET_ZIG}" c++ -target "$ENV{XNORNET_ZIG_TARGET}")
set(CMAKE_CXX_ARCHIVE_CREATE "\"$ENV{XNORNET_ZIG}\" ar qc <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "\"$ENV{XNORNET_ZIG}\" ranlib <TARGET>")
