#!/usr/bin/env bash
# Verifies and measures the CUDA backend on this machine's GPU. Part of what `npm run bundle:gpu` makes; needs the
# driver and nothing else.
#   ./run.sh [--budget=480] [--out=FOLDER] [--quick] [parts...]
# Parts, in their order, each with a limit of its own and a log; one that fails does not stop the others:
#   device       is there a GPU; everything else needs one
#   agreement    what the CPU and the GPU decide, bit for bit
#   kernels      times of the kernels beside their rooflines
#   peers        the same shapes in PyTorch (cuBLAS, cuSPARSE), where python3, or HEBB_PYTHON, has it
#   train        the paper's MNIST network with 1% of the links
#   tests        the tests of the operations and of training, on the GPU too
#   memcheck, racecheck, synccheck   compute-sanitizer, where it is installed, over small layers, a small training and
#                                    an update
# Prints a table; writes FOLDER/result.json, to be kept in bench/results. --quick: tiny shapes, numbers mean nothing.
# Ends with 1 if a part failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
all=(device agreement kernels peers train tests memcheck racecheck synccheck)
budget=480 out=$here/out quick=''
chosen=()
for argument in "$@"; do
  case $argument in
    --budget=*[!0-9]* | --budget=) echo "Expected --budget=SECONDS, got $argument" >&2; exit 2 ;;
    --budget=*) budget=${argument#*=} ;;
    --out=?*) out=${argument#*=} ;;
    --quick) quick=--quick ;;
    *)
      case " ${all[*]} " in
        *" $argument "*) chosen+=("$argument") ;;
        *) echo "Expected --budget=, --out=, --quick or parts of ${all[*]}, got $argument" >&2; exit 2 ;;
      esac
      ;;
  esac
done
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
cd "$here" || exit 2
export HEBB_ADDON=$here/bin/hebb.node PATH=$PATH:/usr/local/cuda/bin
node=$here/bin/node
# What an earlier run left would pass for this one's.
for part in "${all[@]}"; do rm -f "$out/$part.log" "$out/$part.json"; done
rm -f "$out/parts.tsv" "$out/driver.txt" "$out/result.json"

# The device is always looked for: a machine without a GPU would pass the tests on its CPU.
wanted() { [ "${#chosen[@]}" -eq 0 ] || [[ " device ${chosen[*]} " == *" $1 "* ]]; }
note() { # part, outcome, seconds
  printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$out/parts.tsv"
  printf '%-10s %4s s  %s\n' "$1" "$3" "$2"
}
# Runs a command as a part: part NAME LIMIT COMMAND... A command that ends with 3 says in its last line why there is
# nothing to do.
part() {
  local name=$1 limit=$2 began=$SECONDS status=0 outcome
  shift 2
  wanted "$name" || return 0
  [ $((budget - SECONDS)) -lt "$limit" ] && limit=$((budget - SECONDS))
  if [ "$limit" -le 0 ]; then note "$name" "failed: no time left of $budget s" 0; return 0; fi
  timeout --kill-after=5 "$limit" "$@" >"$out/$name.log" 2>&1 </dev/null || status=$?
  case $status in
    0) outcome=passed ;;
    3) outcome="skipped: $(tail -n 1 "$out/$name.log")" ;;
    124 | 137) outcome="failed: stopped after $limit s" ;;
    *) outcome="failed ($status): $(tail -n 1 "$out/$name.log" | cut -c 1-200)" ;;
  esac
  note "$name" "$outcome" $((SECONDS - began))
  [ "$status" -eq 0 ]
}
sanitize() { # tool
  local -a sanitizer=(compute-sanitizer --tool "$1" --error-exitcode 9)
  if ! command -v compute-sanitizer >/dev/null; then echo "compute-sanitizer is not installed"; return 3; fi
  # Errors of calls are checked by the library itself, and recording tries what CUDA may refuse.
  sanitizer+=(--report-api-errors no)
  "${sanitizer[@]}" "$here/bin/hebb_agreement" 300 200 1500 0 &&
    "${sanitizer[@]}" "$here/bin/hebb_gpu_kernels" --quick --filter='spmm|sddmm|step|update'
}
agree() { # shape, or nothing
  # Where the dense route of link prediction is at home, too.
  "$here/bin/hebb_agreement" "$@" &&
    { [ $# -gt 0 ] ||
      { "$here/bin/hebb_agreement" 1568 1568 24586 0 && "$here/bin/hebb_agreement" 2048 1800 184320 0; }; }
}
export -f agree sanitize
export here

command -v nvidia-smi >/dev/null &&
  timeout 20 nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit \
    --format=csv,noheader >"$out/driver.txt" 2>/dev/null
if part device 30 "$node" --input-type=module -e "import('$here/js/lib/native.js').then(({ addon }) => {
  const { devices, detail } = addon.cudaStatus()
  console.log(detail)
  process.exit(devices > 0 ? 0 : 1)
})"; then
  if [ -n "$quick" ]; then
    small=(37 61 200 0) epochs=1 hidden=20 density=0.1 tests=(js/test/ops/relu.test.js js/test/ops/step.test.js)
  else
    small=() epochs=20 hidden=1568,1568,1568 density=0.01 tests=(js/test/ops/*.test.js js/test/trainer.test.js)
  fi
  part agreement 50 bash -c 'agree "$@"' agree "${small[@]}"
  part kernels 110 bin/hebb_gpu_kernels $quick --json="$out/kernels.json"
  # The same script on the CPU where it only has to show that it works.
  part peers 75 "${HEBB_PYTHON:-python3}" peers/gpu.py $quick ${quick:+--device cpu} --json "$out/peers.json"
  part train 60 "$node" js/lib/cli/main.js train --device cuda --data mnist \
    --hidden "$hidden" --density "$density" --epochs "$epochs" --json
  part tests 120 "$node" node_modules/mocha/bin/mocha.js --no-config --reporter tap --timeout 60000 "${tests[@]}"
  for tool in memcheck racecheck synccheck; do part $tool 30 bash -c "sanitize $tool"; done
fi
"$node" js/bench/gpu/report.js "$out" || exit 1
! grep -q $'\tfailed' "$out/parts.tsv"
