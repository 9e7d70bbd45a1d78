#!/usr/bin/env bash
# One day with a GPU, in one command: bash bench/gpu_day.sh [FOLDER]   (default: gpu-day)
# The tests on the device, nets S and R against PyTorch with TF32 off and on (times of device and
# host, memory), launches and what was estimated from them, agreement of masks and crops with NumPy
# bit for bit, the time of examples/cifar10.py: to 94 % where TINYNET_DATA holds CIFAR-10, else shapes.
# Each step's output is kept in FOLDER: what has succeeded is not run again. FOLDER/page.md tells all.
# GPU_DAY_SMALL=1 makes every step as small as it can be: for a try without a GPU, on the emulator.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
folder=${1:-gpu-day}
mkdir -p "$folder"
export TINYNET_BACKEND=cupy

tests=(tests) timing=() example=(--data shapes)
if [ -n "${TINYNET_DATA:-}" ]; then example=(--target 94); fi
if [ -n "${GPU_DAY_SMALL:-}" ]; then
    tests=(tests/kernels/test_gpu.py -k masked)
    timing=(--batch 2 --steps 2 --warm-up 1 --gemm 8)
fi

step() {  # step NAME COMMAND...: run it unless it succeeded before
    local name=$1
    shift
    if [ -e "$folder/$name.done" ]; then
        echo "$name: done before"
        return
    fi
    echo "$name: $*"
    if "$@" >"$folder/$name.txt" 2>&1 </dev/null; then
        touch "$folder/$name.done"
    else
        echo "$name: FAILED, see $folder/$name.txt"
        failed=yes
    fi
}

page() {  # all that is known so far, on one page
    echo "# A day with a GPU"
    echo
    "$python" -m bench.gpu --device
    local name
    for name in tests launches fp32 tf32 agreement example; do
        [ -e "$folder/$name.txt" ] || continue
        echo
        if [ -e "$folder/$name.done" ]; then echo "## $name"; else echo "## $name: FAILED"; fi
        echo
        echo '```'
        tail -n 12 "$folder/$name.txt"
        echo '```'
    done
}

failed=""
step tests "$python" -m pytest -q -p no:cacheprovider "${tests[@]}"
step fp32 "$python" -m bench.gpu ${timing[@]+"${timing[@]}"}
step tf32 env CUPY_TF32=1 "$python" -m bench.gpu --tf32 ${timing[@]+"${timing[@]}"}
step agreement "$python" -m pytest -q -p no:cacheprovider \
    tests/test_random.py tests/emulator/test_agreement.py -k "same_bits or mask"
step launches "$python" -m bench.gpu_estimate
if [ -z "${GPU_DAY_SMALL:-}" ]; then
    step example "$python" examples/cifar10.py "${example[@]}" --resume --out "$folder/run"
fi
page >"$folder/page.md"
echo "$folder/page.md"
[ -z "$failed" ]
