#!/usr/bin/python3
"""Tokens a second of the engine beside the same model in PyTorch, on one core, in one run.

    bench/engine_torch.py [MODEL] [--binary build/release/hatchway] [--doubled] [--seconds 3]

PyTorch is Debian's python3-torch (cmake/packages bench). Its three ways: `generate` as the published
reference does it, the whole context again for each token; the recurrent form that the engine uses,
written with PyTorch's own products; and a prompt of 4 KiB in the parallel form. Both sides are
first held against each other: the logits of one text must agree. Rates are by CPU time, rounds
alternate, the best of each counts.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import time

import numpy
import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent


def read_safetensors(path):
    """The configuration and the tensors in f32 of a file in F32 or BF16."""
    raw = pathlib.Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:8 + size])
    conf = head.pop("__metadata__")
    tensors = {}
    for name, entry in head.items():
        data = raw[8 + size:][slice(*entry["data_offsets"])]
        if entry["dtype"] == "BF16":
            values = (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
        elif entry["dtype"] == "F32":
            values = numpy.frombuffer(data, "<f4").copy()
        else:
            sys.exit(f"{path}: {name} is {entry['dtype']}; hatchway bdh convert --dtype f32 first")
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]))
    decay = float(conf.get("hatchway.decay", 0)) or 1.0
    return {key: int(conf[key]) for key in ("n_layer", "n_embd", "n_head")} | {"decay": decay}, tensors


class Bdh:
    def __init__(self, path, doubled):
        conf, t = read_safetensors(path)
        self.layers, self.embd, self.heads = conf["n_layer"], conf["n_embd"], conf["n_head"]
        self.decay = conf["decay"]
        self.encoder, self.encoder_v = t["encoder"], t["encoder_v"]
        self.decoder, self.lm_head, self.embed = t["decoder"], t["lm_head"], t["embed.weight"]
        self.freqs = t["attn.freqs"].flatten()
        if doubled:  # every neuron twice, at half the decoder's weight: the same answers
            twice = torch.arange(self.freqs.numel()).view(-1, 2).repeat(1, 2).flatten()
            self.encoder, self.encoder_v = self.encoder[..., twice], self.encoder_v[..., twice]
            rows = self.decoder.view(self.heads, -1, self.embd)[:, twice] * 0.5
            self.decoder = rows.reshape(-1, self.embd)
            self.freqs = self.freqs[twice]
        self.neurons = self.freqs.numel()

    def norm(self, x):
        return F.layer_norm(x, (self.embd,))

    def rope(self, a, positions):
        phase = positions[:, None].float() * self.freqs
        angle = (phase - phase.floor()) * (2 * torch.pi)
        turned = torch.stack((-a[..., 1::2], a[..., ::2]), dim=-1).flatten(-2)
        return a * angle.cos() + turned * angle.sin()

    def after(self, x, a, y):
        """A layer's output, from [T, D], [H, T, N], [H, T, D]."""
        gated = a * F.relu(self.norm(y) @ self.encoder_v)
        z = gated.transpose(0, 1).reshape(len(x), -1) @ self.decoder
        return self.norm(x + self.norm(z))

    def whole(self, tokens):
        """Logits at each position, in the parallel form."""
        x = self.norm(self.embed[tokens])
        positions = torch.arange(len(tokens))
        left = self.decay ** (positions[:, None] - 1 - positions).clamp(min=0)
        for _ in range(self.layers):
            a = F.relu(x @ self.encoder)
            q = self.rope(a, positions)
            y = torch.cat([((q[h:h + 1] @ q[h:h + 1].transpose(-1, -2)).tril(-1) * left) @ x
                           for h in range(self.heads)])
            x = self.after(x, a, y)
        return x @ self.lm_head

    def state(self):
        return torch.zeros(self.layers, self.heads, self.neurons, self.embd)

    def step(self, state, position, token):
        """Logits behind one more token, in the recurrent form."""
        x = self.norm(self.embed[token]).unsqueeze(0)
        at = torch.tensor([position])
        for layer in range(self.layers):
            a = F.relu(x @ self.encoder)
            q = self.rope(a, at)
            y = q @ state[layer]
            if self.decay != 1:
                state[layer].mul_(self.decay)
            state[layer].addcmul_(q.transpose(1, 2), x.unsqueeze(0))
            x = self.after(x, a, y)
        return x @ self.lm_head


def rate(run, seconds, tokens):
    """Tokens a second of CPU time: run() makes so many."""
    made, start = 0, time.process_time()
    while made == 0 or time.process_time() - start < seconds:
        run()
        made += tokens
    return made / (time.process_time() - start)


def check(model, binary, path, doubled):
    """The engine's logits are these, too (it doubles nothing but what it measures)."""
    text = b"What is a worker? It runs one model in a process of its own."
    if doubled:
        return
    own = subprocess.run([binary, "bdh", "logits", path], input=text, check=True,
                         stdout=subprocess.PIPE).stdout
    own = torch.frombuffer(bytearray(own), dtype=torch.float32).view(len(text), -1)
    other = model.whole(torch.tensor(list(text)))
    state = model.state()
    stepped = torch.cat([model.step(state, i, token) for i, token in enumerate(text)])
    for name, logits in ("parallel", other), ("recurrent", stepped):
        off = (own - logits).abs().max().item()
        if off > 1e-3:
            sys.exit(f"the engine's logits are {off} off PyTorch's {name} form")


def measure_torch(model, seconds):
    tokens = torch.tensor(list((ROOT / "README.md").read_bytes()[:4096]))
    state, at = model.state(), [0]

    def recurrent():
        model.step(state, at[0], tokens[at[0] % len(tokens)])
        at[0] += 1
    return {
        "PyTorch generate(), 50 tokens of context": rate(lambda: model.whole(tokens[:50]), seconds, 1),
        "PyTorch generate(), 200 tokens": rate(lambda: model.whole(tokens[:200]), seconds, 1),
        "PyTorch, recurrent form": rate(recurrent, seconds, 1),
        "PyTorch, prompt of 4 KiB": rate(lambda: model.whole(tokens), seconds, len(tokens)),
    }


def measure_own(binary, path, doubled, seconds):
    out = subprocess.run([binary, "bdh", "bench", path, "--seconds", str(seconds)] +
                         ["--doubled"] * doubled, check=True, stdout=subprocess.PIPE).stdout.decode()
    rates = {}
    for line, name in (("single stream", "single stream"), ("16 sessions, total", "16 sessions"),
                       ("prefill of 4 KiB", "prompt of 4 KiB")):
        f32, fast = re.search(rf"^ *{line} +([\d.]+) +([\d.]+)$", out, re.M).groups()
        rates[f"hatchway, {name}, f32"], rates[f"hatchway, {name}, fast"] = float(f32), float(fast)
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default=str(ROOT / "models/hatchling.safetensors"))
    parser.add_argument("--binary", default=str(ROOT / "build/release/hatchway"))
    parser.add_argument("--doubled", action="store_true", help="as hatchway bdh bench --doubled")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    model = Bdh(args.model, args.doubled)
    check(model, args.binary, args.model, args.doubled)
    best = {}
    for _ in range(args.rounds):
        for name, value in {**measure_torch(model, args.seconds),
                            **measure_own(args.binary, args.model, args.doubled,
                                          args.seconds)}.items():
            best[name] = max(value, best.get(name, 0))
    recurrent = best["PyTorch, recurrent form"]
    print(f"PyTorch {torch.__version__}, one thread; best of {args.rounds} rounds\n")
    print("| one core | tokens/s | of PyTorch's recurrent form |\n|---|---|---|")
    for name, value in best.items():
        print(f"| {name} | {value:.0f} | {value / recurrent:.1f}x |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
