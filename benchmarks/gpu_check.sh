#!/usr/bin/env bash
# On a machine with a CUDA GPU, from the root of a checkout: is cordstasks right there, and how fast is it?
# Runs the tests marked `cuda`, the front-end benchmark and the default random-dot run, and prints a table; whole logs go
# to $OUT (default gpu-check/). Nothing is installed: it takes the python3 it finds, or $PYTHON, which needs torch,
# scikit-learn, scipy, matplotlib, pytest, safetensors, threadpoolctl, joblib and tqdm, but neither gymnasium nor neurogym.
# usage: benchmarks/gpu_check.sh [SECONDS]   how long it may take in all (default 420); what does not fit is left out
set -u
limit=${1:-420}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
out=${OUT:-gpu-check}
mkdir -p "$out"
export PYTHONPATH=$PWD PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MPLBACKEND=Agg
CORDSTASKS_CACHE=$(mktemp -d)
export CORDSTASKS_CACHE
parts=()

part() { # NAME MOST-SECONDS COMMAND...
    local name=$1 most=$2 left=$((limit - SECONDS))
    shift 2
    [ "$left" -lt "$most" ] && most=$left
    if [ "$most" -lt 10 ]; then
        printf '%-16s left out, no time\n' "$name"
        return
    fi
    local began=$SECONDS
    timeout "$most" "$@" > "$out/$name.txt" 2>&1
    printf '%-16s exit %d, %d s\n' "$name" "$?" "$((SECONDS - began))"
    parts+=("$name")
}

"$python" - <<'P'
import platform, numpy, torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
print(f"python {platform.python_version()}, numpy {numpy.__version__}, torch {torch.__version__}, {gpu}")
P
marked=$(grep -rlE 'mark\.cuda' tests --include='test_*.py')
# shellcheck disable=SC2086  # one argument a file
part tests 180 "$python" -m pytest -q -m cuda -p no:cacheprovider -W default $marked
part frontend-64px 90 "$python" benchmarks/frontend.py --device "$device" --image-size 64 --batches 1 64 512 --seconds 30
part frontend-224px 90 "$python" benchmarks/frontend.py --device "$device" --image-size 224 --batches 1 8 32 --seconds 30
part bfloat16-64px 60 "$python" benchmarks/frontend.py --device "$device" --image-size 64 --batches 1 512 --precision bfloat16 \
    --seconds 15
part rdm 150 "$python" -m cordstasks.train --task rdm --device "$device" --out "$out/rdm"
for name in ${parts[@]+"${parts[@]}"}; do
    echo "--- $name"
    tr '\r' '\n' < "$out/$name.txt" | grep -vE '^ *$|it/s|step/s|batch/s' | tail -n 24 | cut -c1-150
done
