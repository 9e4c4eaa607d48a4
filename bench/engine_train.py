#!/usr/bin/python3
"""A training step of `hatchway bdh train` beside the same step in PyTorch, in one run.

    bench/engine_train.py [--binary build/release/hatchway] [--steps 10] [--threads 2] [--batch 8]
                          [--block 256]

PyTorch is Debian's python3-torch (cmake/packages bench). Its side is the published mathematics in
the form that PyTorch is fast at: one matrix product for all positions and heads, autograd, AdamW,
clipping, dropout. Both get the fleet's shape (4 layers, D 128, 4 heads, multiplier 64: 3,211,264
parameters), the same text (this file and its neighbours), the same cores. Rounds alternate; the
median counts. CPU seconds bear a busy machine better than the clock does.
"""
import argparse
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAYERS, EMBD, HEADS, MULTIPLIER, VOCAB = 4, 128, 4, 64, 256
NEURONS = MULTIPLIER * EMBD // HEADS


class Bdh(torch.nn.Module):
    def __init__(self, block):
        super().__init__()

        def weights(*shape):
            return torch.nn.Parameter(torch.randn(*shape) * 0.02)

        self.embed = weights(VOCAB, EMBD)
        self.encoder = weights(HEADS, EMBD, NEURONS)
        self.encoder_v = weights(HEADS, EMBD, NEURONS)
        self.decoder = weights(HEADS * NEURONS, EMBD)
        self.lm_head = weights(EMBD, VOCAB)
        pair = torch.arange(NEURONS) // 2 * 2
        turns = 65536.0 ** (-pair / NEURONS) / (2 * torch.pi)
        angle = (torch.arange(block)[:, None] * turns % 1.0) * (2 * torch.pi)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def rope(self, a):
        turned = torch.stack((-a[..., 1::2], a[..., ::2]), dim=-1).view_as(a)
        return a * self.cos[:a.size(-2)] + turned * self.sin[:a.size(-2)]

    def forward(self, tokens, targets):
        batch, length = tokens.shape
        x = F.layer_norm(self.embed[tokens], (EMBD,)).unsqueeze(1)
        for _ in range(LAYERS):
            a = F.relu(x @ self.encoder)
            q = self.rope(a)
            y = (q @ q.transpose(-1, -2)).tril(-1) @ x
            b = F.relu(F.layer_norm(y, (EMBD,)) @ self.encoder_v)
            gated = F.dropout(a * b, 0.1, self.training)
            z = gated.transpose(1, 2).reshape(batch, 1, length, HEADS * NEURONS) @ self.decoder
            x = F.layer_norm(x + F.layer_norm(z, (EMBD,)), (EMBD,))
        logits = x.squeeze(1) @ self.lm_head
        return F.cross_entropy(logits.view(-1, VOCAB), targets.reshape(-1))


def cpu_s(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


class Torch:
    def __init__(self, args, text):
        torch.manual_seed(1)
        torch.set_num_threads(args.threads)
        self.args = args
        self.data = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        self.model = Bdh(args.block)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), 1e-3, (0.9, 0.99),
                                           weight_decay=0.1)
        self.run(2)  # what the first steps alone cost

    def run(self, steps):
        """(clock, CPU) seconds a step"""
        clock, cpu = time.monotonic(), cpu_s(resource.RUSAGE_SELF)
        for _ in range(steps):
            starts = torch.randint(len(self.data) - self.args.block - 1, (self.args.batch,))
            rows = torch.stack([self.data[s:s + self.args.block + 1] for s in starts]).long()
            self.optimiser.zero_grad(set_to_none=True)
            self.model(rows[:, :-1], rows[:, 1:]).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimiser.step()
        return ((time.monotonic() - clock) / steps, (cpu_s(resource.RUSAGE_SELF) - cpu) / steps)


class Hatchway:
    """Each run is a process: what a run of two steps costs comes off."""

    def __init__(self, args, path, folder):
        self.command = [args.binary, "bdh", "train", "--data", path, "--out", folder,
                        "--batch", str(args.batch), "--block", str(args.block),
                        "--threads", str(args.threads), "--eval-every", "1000000",
                        "--save-every", "1000000", "--layers", str(LAYERS), "--embd", str(EMBD),
                        "--heads", str(HEADS), "--multiplier", str(MULTIPLIER)]

    def once(self, steps):
        clock, cpu = time.monotonic(), cpu_s(resource.RUSAGE_CHILDREN)
        subprocess.run(self.command + ["--steps", str(steps)], check=True,
                       stdout=subprocess.DEVNULL)
        return time.monotonic() - clock, cpu_s(resource.RUSAGE_CHILDREN) - cpu

    def run(self, steps):
        short, long = self.once(2), self.once(2 + steps)
        return tuple((a - b) / steps for a, b in zip(long, short))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default=str(ROOT / "build/release/hatchway"))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--block", type=int, default=256)
    args = parser.parse_args()
    text = b"".join(p.read_bytes() for p in sorted(ROOT.glob("docs/*.md")) +
                    sorted(ROOT.glob("engine/*.c")))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "text.txt")
        path.write_bytes(text)
        sides = {"PyTorch " + torch.__version__: Torch(args, text),
                 "hatchway bdh train": Hatchway(args, str(path), folder + "/out")}
        results = {name: [] for name in sides}
        for _ in range(args.rounds):
            for name, side in sides.items():
                results[name].append(side.run(args.steps))
    tokens = args.batch * args.block
    print(f"{args.batch} x {args.block} tokens a step, {args.threads} threads, "
          f"median of {args.rounds} rounds of {args.steps} steps\n")
    print("| | ms a step | tokens/s | CPU ms a step |\n|---|---|---|---|")
    medians = []
    for name, rounds in results.items():
        clock, cpu = (statistics.median(column) for column in zip(*rounds))
        medians.append((clock, cpu))
        print(f"| {name} | {clock * 1e3:.0f} | {tokens / clock:.0f} | {cpu * 1e3:.0f} |")
    (torch_clock, torch_cpu), (own_clock, own_cpu) = medians
    print(f"\nPyTorch takes {torch_clock / own_clock:.2f}x the time, {torch_cpu / own_cpu:.2f}x the CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
