#!/usr/bin/env bash
# Builds the package's binaries so that they load on systems as old as RHEL 8: by the compiler and against the C library
# of Debian 11, in a root of their own. What is published is what it packs with them, where no platform is named.
#   binding/release.sh [linux-x64] [linux-arm64]     results: prebuilds/, hebb-*.tgz
# Needs root (chroot, mounts) and Debian's debootstrap. CUDA is built in where nvcc is found; HEBB_CUDA=OFF leaves it
# out.
set -euo pipefail
cd "$(dirname "$0")/.."
source=$PWD
root=$source/build-root
suite=bullseye

# The mirror and its settings are this machine's own.
mirror() {
  awk '$1 == "URIs:" && $2 ~ /\/debian\/?$/ { print $2; exit }
    $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^http.*\/debian\/?$/) { print $i; exit } }' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null
}
make_root() {
  local from
  from=$(mirror)
  command -v debootstrap >/dev/null ||
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap; }
  rm -rf "$root/new"
  mkdir -p "$root"
  debootstrap --variant=minbase --include=ca-certificates,g++,g++-aarch64-linux-gnu "$suite" "$root/new" \
    "${from:-http://deb.debian.org/debian}" >"$root/log" || { tail -n 20 "$root/log"; exit 1; }
  mv "$root/new" "$root/$suite"
}

if [ "${HEBB_IN_NAMESPACE:-}" = "" ]; then
  [ "$(id -u)" = 0 ] || { echo "Expected to run as root: a root of Debian 11 is made, and entered by chroot."; exit 1; }
  [ -e "$root/$suite" ] || make_root
  # Mounts are seen by this process and its children alone, and end with them.
  HEBB_IN_NAMESPACE=1 exec unshare --mount "$0" "$@"
fi

# CMake runs here, compilers run there; all see the sources at one path.
bind() { # folder
  mkdir -p "$root/$suite$1"
  mount --bind "$1" "$root/$suite$1"
}
bind "$source"
entering() { # program there: a program here that runs it
  mkdir -p "$root/bin"
  printf '#!/bin/sh\nexec chroot %q env -C "$PWD" TMPDIR=/tmp %q "$@"\n' "$root/$suite" "$1" >"$root/bin/${1##*/}"
  chmod +x "$root/bin/${1##*/}"
  echo "$root/bin/${1##*/}"
}
unset CMAKE_CXX_COMPILER_LAUNCHER
build() { # platform, options of CMake
  npx cmake-js build -O "build-release-$1" --CDHEBB_PORTABLE=ON "${@:2}" --log-level error
  mkdir -p "prebuilds/$1"
  cp "build-release-$1/Release/hebb.node" "prebuilds/$1/node.napi.glibc.node"
  node binding/symbol_versions.js "prebuilds/$1/node.napi.glibc.node"
}

platforms=("$@")
[ "$#" -gt 0 ] || platforms=(linux-x64 linux-arm64)
for platform in "${platforms[@]}"; do
  case $platform in
    linux-x64)
      cuda=(--CDHEBB_CUDA=OFF)
      if [ "${HEBB_CUDA:-}" != OFF ] && command -v nvcc >/dev/null; then
        # The toolkit's folder, as nvcc itself says.
        toolkit=$(nvcc --dryrun -x cu /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')
        toolkit=$(realpath "$toolkit")
        bind "$toolkit"
        cuda=(--CDHEBB_CUDA=ON "--CDCMAKE_CUDA_COMPILER=$(entering "$toolkit/bin/nvcc")"
          "--CDCUDAToolkit_ROOT=$toolkit")
      fi
      build linux-x64 "--CDCMAKE_CXX_COMPILER=$(entering /usr/bin/g++)" "${cuda[@]}"
      ;;
    linux-arm64)
      build linux-arm64 --arch arm64 "--CDCMAKE_CXX_COMPILER=$(entering /usr/bin/aarch64-linux-gnu-g++)" \
        --CDCMAKE_SYSTEM_NAME=Linux --CDCMAKE_SYSTEM_PROCESSOR=aarch64 --CDHEBB_CUDA=OFF
      ;;
    *)
      echo "Expected linux-x64 or linux-arm64, got $platform"
      exit 1
      ;;
  esac
done

if [ "$#" -eq 0 ]; then
  npm run --silent build:lib
  # Its own scripts would build for this machine, over what was built here.
  npx tsx test/package/tarball.ts "$(npm pack --ignore-scripts --silent)" --release
fi
