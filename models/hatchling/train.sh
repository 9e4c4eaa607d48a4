#!/bin/sh
# Trains models/hatchling.safetensors from corpus.jsonl: 28 minutes on two cores.
#
# Interrupted (Ctrl-C, power), it goes on where it was when started again. WORK holds the checkpoint
# and the loss log; HATCHWAY is the program.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
HATCHWAY=${HATCHWAY:-$root/build/release/hatchway}
WORK=${WORK:-$root/build/hatchling}

mkdir -p "$WORK"
nice -n 10 "$HATCHWAY" bdh train --data "$here/corpus.jsonl" --out "$WORK" --resume \
    --time-limit 28m --steps 100000 \
    --layers 4 --embd 128 --heads 4 --multiplier 32 \
    --batch 8 --block 400 --lr 0.003 --min-lr 0.0001 --warmup 50 \
    --dropout 0.05 --augment 0.5 --chat 0.1 --eval-every 200 --save-every 200 --bf16
"$HATCHWAY" bdh recall "$WORK/model.safetensors" --data "$here/corpus.jsonl" \
    --min-trained 99 --min-held-out 70
cp "$WORK/model.safetensors" "$root/models/hatchling.safetensors"
