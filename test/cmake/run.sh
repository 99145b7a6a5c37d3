#!/usr/bin/env bash
# The example for C++ users, three ways: in a build of this repository, in a project that has the sources, in one that
# has the library installed. What hebb is compiled with must not reach the user's own sources.
#   test/cmake/run.sh [BUILD]   a folder to build in, or one that is built
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
# Beside other builds, so that a compiler cache finds the sources where it has seen them.
users=$root/build-users
rm -rf "$users"-*
trap 'rm -rf "$users"-*' EXIT
build=${1:-$users-repository}
run() { # name, program
  echo "--- $1"
  "$2" | tail -n 1
}
cmake -S "$root" -B "$build" -DHEBB_CUDA=OFF >/dev/null
cmake --build "$build" --parallel 2 >/dev/null
run "in this repository" "$build/hebb_example_mlp"

user() { # name, options
  local folder=$users-$1
  cmake -S "$root/test/cmake" -B "$folder" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "${@:2}" >/dev/null
  cmake --build "$folder" --parallel 2 >/dev/null
  if grep '"command".*mlp\.cc' "$folder/compile_commands.json" | grep -oE -- ' -(W|f|O|m|D)[^ ]*'; then
    echo "Expected no flags of hebb's for a user's sources"
    exit 1
  fi
  if ! grep -qx 'CMAKE_BUILD_TYPE:STRING=' "$folder/CMakeCache.txt"; then
    echo "Expected the user's build type to stay as it is"
    exit 1
  fi
  run "$1" "$folder/mlp"
}
user subproject -DHEBB_SOURCE="$root" -DHEBB_CUDA=OFF
cmake --install "$build" --prefix "$users-prefix" >/dev/null
user installed -DCMAKE_PREFIX_PATH="$users-prefix"
