#!/bin/sh
# Trains models/hatchling.safetensors from corpus.jsonl, in two stages:
#   talk    whole answers: the model learns the language of the corpus and its answers by heart
#   answer  mostly answers' beginnings, where the question decides; then all of it, ever more slowly
# About 27 minutes together on two free cores, 50 on one; each stage stops at its time limit.
#
# Interrupted (Ctrl-C, power), it goes on where it was when started again. WORK holds checkpoints and
# loss logs; HATCHWAY is the program.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
HATCHWAY=${HATCHWAY:-$root/build/release/hatchway}
WORK=${WORK:-$root/build/hatchling}

train() {
    stage=$1
    shift
    nice -n 10 "$HATCHWAY" bdh train --data "$here/corpus.jsonl" --out "$WORK/$stage" --resume \
        --block 400 --dropout 0.05 --eval-every 100 --save-every 100 "$@"
}

mkdir -p "$WORK"
train talk --layers 4 --embd 128 --heads 4 --multiplier 32 \
    --steps 1800 --decay 0.99 --time-limit 30m --batch 8 --lr 0.003 --min-lr 0.0001 --warmup 50 \
    --augment 0.5 --cut 0 --fork-weight 1 --chat 0.1
train answer --init "$WORK/talk/model.safetensors" --muon --bf16 \
    --steps 2600 --time-limit 40m --batch 16 --lr 0.0015 --min-lr 0.0001 --warmup 30 \
    --augment 0.65 --cut 0.5 --fork-weight 5 --chat 0.03
"$HATCHWAY" bdh recall "$WORK/answer/model.safetensors" --data "$here/corpus.jsonl" \
    --min-trained 99 --min-held-out 70
cp "$WORK/answer/model.safetensors" "$root/models/hatchling.safetensors"
