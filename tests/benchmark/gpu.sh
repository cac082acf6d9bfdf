#!/usr/bin/env bash
# One command for a borrowed GPU: what has to be known of it, in six minutes at most, without network and napari.
#
#     tests/benchmark/gpu.sh OUT [JUDGE_DIR] [--device cuda|mps|cpu] [--quick] [--parts NAME,NAME] [--seconds 360] [--commit ID]
#
# It runs, each under a limit of its own, and none stops the others:
#     check         the device against the CPU: the same fit on both
#     tests         the engine's tests
#     profile       launches, busy time and synchronisations of a step
#     speed         speed.py at 256², 512² and 1024²
#     restorations  whole restorations with PSNR
#     judge         five cases on the CPU and on the device, if JUDGE_DIR is given (a folder with cases.py and judge.py)
# OUT/tables.md has all tables (written anew after every part), OUT/log.txt everything else. The exit status is 0 if all
# parts passed, 1 if one failed, 2 if nothing could be run. --quick takes small images and few steps: it runs every line,
# and its figures say nothing. --seconds is for all parts together; their limits grow and shrink with it. PYTHON names
# another interpreter than python3. Needed are torch, numpy, scipy, scikit-image, psutil, pydantic and pytest, and napari-dip's
# metadata; the code is this checkout's.
set -uo pipefail

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; }
give_up() { echo "gpu.sh: $*" >&2; exit 2; }

out="" judge="" device="" parts="" quick=false total=360 commit=""
while [ $# -gt 0 ]; do
  case "$1" in
    --device | --parts | --seconds | --commit)
      [ $# -ge 2 ] || give_up "$1 needs a value."
      case "$1" in
        --device) device="$2" ;;
        --parts) parts="$2" ;;
        --seconds) total="$2" ;;
        --commit) commit="$2" ;;
      esac
      shift
      ;;
    --quick) quick=true ;;
    -h | --help) usage; exit 0 ;;
    -*) give_up "there is no option $1; --help shows those there are." ;;
    *) if [ -z "$out" ]; then out="$1"; elif [ -z "$judge" ]; then judge="$1"; else give_up "what is $1?"; fi ;;
  esac
  shift
done
[ -n "$out" ] || give_up "say where the tables go: gpu.sh OUT [JUDGE_DIR]"
case "$total" in '' | *[!0-9]*) give_up "--seconds takes a whole number." ;; esac
for part in $(printf '%s' "$parts" | tr ',' ' '); do
  case "$part" in check | tests | profile | speed | restorations | judge) ;; *) give_up "there is no part $part." ;; esac
done

mkdir -p "$out" && out="$(cd "$out" && pwd)" || give_up "$out cannot be written to."
if [ -n "$judge" ]; then judge="$(cd "$judge" 2>/dev/null && pwd)" || give_up "there is no folder for the judge."; fi
cd "$(dirname "$0")/../.." || give_up "the checkout cannot be entered."
benchmark=tests/benchmark
python="${PYTHON:-python3}"
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if command -v timeout >/dev/null; then timeout=timeout
elif command -v gtimeout >/dev/null; then timeout=gtimeout
else give_up "the command timeout is missing; it is in the coreutils (on a Mac: brew install coreutils)."; fi

"$python" - <<'CHECK' || exit 2
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

missing = [name for name in ("torch", "numpy", "scipy", "skimage", "psutil", "pydantic", "pytest") if find_spec(name) is None]
if missing:
    sys.exit(f"gpu.sh: {sys.executable} lacks {', '.join(missing)}.")
try:
    version("napari-dip")
except PackageNotFoundError:
    sys.exit(
        "gpu.sh: napari-dip's metadata is missing, and every record names its version. Make a wheel where there is a\n"
        "network (python -m pip wheel --no-deps .), bring it here, and install it without what it depends on:\n"
        f"    {sys.executable} -m pip install --no-deps --no-index WHEEL\n"
        "The code that runs is this checkout's."
    )
CHECK
if [ -z "$device" ]; then
  device="$("$python" -c '
import torch
print("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "")')"
  [ -n "$device" ] || give_up "torch finds no GPU here; --device cpu runs everything on the CPU."
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
log="$out/log.txt"
: >"$log"
: >"$work/verdicts"
failures=0
count=0
SECONDS=0

write_tables() { # all that is known so far: if the machine is taken away, it is there
  {
    echo "# What gpu.sh measured"
    $quick && printf '\nWith --quick: no figure here is a measurement.\n'
    printf '\n'
    cat "$work/machine.md"
    printf '\n| part | verdict | seconds |\n|---|---|---|\n'
    cat "$work/verdicts"
    cat "$work"/part_*.md 2>/dev/null
  } >"$out/tables.md"
}

wanted() { [ -z "$parts" ] || case ",$parts," in *",$1,"*) true ;; *) false ;; esac; }

run_part() { # name, heading, seconds of 360, command …
  local name="$1" heading="$2" limit=$(($3 * total / 360)) left=$((total - SECONDS)) start=$SECONDS status verdict
  shift 3
  wanted "$name" || return 0
  [ "$limit" -le "$left" ] || limit=$left
  count=$((count + 1))
  local section="$work/part_$count.md"
  printf '\n== %s\n' "$heading"
  printf '\n== %s: %s\n' "$heading" "$*" >>"$log"
  : >"$work/said"
  : >"$work/complained"
  if [ "$limit" -le 0 ]; then
    status=124
    verdict="**not run: no time left**"
  else
    "$timeout" --kill-after=3 "$limit" "$@" >"$work/said" 2>"$work/complained"
    status=$?
    case $status in
      0) verdict=passed ;;
      124 | 137) verdict="**not finished in $limit s**" ;;
      *) verdict="**failed**" ;;
    esac
  fi
  cat "$work/said" "$work/complained" >>"$log"
  {
    printf '\n## %s\n\n' "$heading"
    if [ "$name" = tests ]; then say_tests "$work/said"; else cat "$work/said"; fi
    case $verdict in
      passed) ;;
      *failed*) printf '\n%s: %s\n' "$verdict" "$(tail -n 1 "$work/complained")" ;;
      *) printf '\n%s\n' "$verdict" ;;
    esac
  } >"$section"
  [ $status -eq 0 ] || failures=$((failures + 1))
  echo "| $name | $verdict | $((SECONDS - start)) |" >>"$work/verdicts"
  tail -n +3 "$section"
  write_tables
}

say_tests() { # what pytest sums up, or how far it came
  grep -E '^(FAILED|ERROR) |(passed|failed|error|skipped|no tests ran).* in [0-9.]+' "$1" | sed 's/^/- /' | cut -c 1-200 |
    grep . || { printf -- '- '; tail -n 1 "$1" | cut -c 1-200; }
}

"$python" "$benchmark/gpu_machine.py" --device "$device" ${commit:+--commit "$commit"} \
  >"$work/machine.md" 2>>"$log" || { tail -n 1 "$log" >&2; give_up "the device $device cannot be described."; }
cat "$work/machine.md"

tests=(tests/prior tests/optimisation tests/measurement tests/spectrum tests/test_restoration.py)
no_window=(-p no:napari -p no:npe2 -p no:pytest-qt) # where they are installed, to load them takes longer than a short test
check=(--size 128 --steps 200)
speed=(--preset default published --size 256 512 1024)
profile=(--size 256 512)
fewer=()
if $quick; then
  tests=(tests/spectrum)
  check=(--size 48 --steps 60) # in fewer a network hardly leaves its constant
  speed=(--preset published --size 64 --turns 1) # the one that has a plain loop beside it
  profile=(--size 64 --steps 2)
  fewer=(--quick)
fi
many=()
threads=()
if "$python" -c 'import os, xdist; assert os.cpu_count() > 4' 2>/dev/null; then
  many=(-n 8)
  threads=(OMP_NUM_THREADS=1) # two processes of torch with a thread per core each wait for one another
fi

run_part check "The device beside the CPU" 30 "$python" "$benchmark/gpu_check.py" --device "$device" "${check[@]}"
run_part tests "The engine's tests" 80 \
  env ${threads[@]+"${threads[@]}"} "$python" -m pytest -m "not full" -p no:cacheprovider "${no_window[@]}" -W default -rfE \
  ${many[@]+"${many[@]}"} "${tests[@]}"
run_part profile "A step" 45 "$python" "$benchmark/gpu_profile.py" --device "$device" "${profile[@]}"
run_part speed "Speed" 60 "$python" "$benchmark/speed.py" --markdown --device "$device" "${speed[@]}"
run_part restorations "Restorations" 80 "$python" "$benchmark/gpu_restorations.py" --device "$device" \
  ${fewer[@]+"${fewer[@]}"}
if [ -n "$judge" ]; then
  run_part judge "The judge's cases, CPU and $device" 60 "$python" "$benchmark/gpu_judge.py" "$judge" --device "$device" \
    ${fewer[@]+"${fewer[@]}"}
fi

printf '\n== all tables: %s\n\n' "$out/tables.md"
cat "$out/tables.md"
if [ $failures -gt 0 ]; then
  echo "gpu.sh: $failures parts failed." >&2
  exit 1
fi
