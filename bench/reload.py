#!/usr/bin/env python3
"""A reload under load: does a query fail, and what do those of that second wait?

    bench/reload.py [--binary build/release/hatchway] [--runs 5] [--rate 200] [--check]

Queries come at their times, whatever becomes of those before (an open loop), and are timed from
when they were due. The backends can answer 400 a second (8 at a time each, 40 ms), the load is
half of that. After some seconds the policy is edited and reloaded: 12 routes, 13 roles that are
learned from 1,300 examples anew. The median of the runs counts. --check: exit 1 when a query fails
or the 99th percentile of the reload's second is twice that of the seconds before, or more.
"""
import argparse
import http.client
import json
import os
import pathlib
import random
import statistics
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "bench/data/classify/hwu64_role.train.jsonl"
EXAMPLES = 100   # a role
CALM, AFTER = 4, 2   # seconds
CLIENTS = 48


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--binary", default=str(ROOT / "build/release/hatchway"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def policy(backends, edited):
    roles = {}
    for line in DATA.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        examples = roles.setdefault(row["label"], {"examples": []})["examples"]
        if len(examples) < EXAMPLES:
            examples.append(row["text"])
    if edited:
        roles["alarm"]["examples"].append("wake me when the second backup has ended")
    routes = [{"name": f"{name}-route", "when": {"role": name, "prompt_tokens": ">4096"}}
              for name in list(roles)[:11]]
    return {"backends": [{"name": f"node{i}", "kind": "openai", "url": peer.url, "models": ["small"],
                          "general": True, "max_inflight": 8} for i, peer in enumerate(backends)],
            "roles": roles, "routes": [*routes, {"name": "default", "to": {"by": "least_inflight"}}],
            "cache": {"keep": "none"}, "watch": False, "access_log": "off"}


class Load:
    def __init__(self, port, rate, seconds, seed):
        dice, at = random.Random(seed), 0.0
        self.due = []
        while (at := at + dice.expovariate(rate)) < seconds:
            self.due.append(at)
        self.port = port
        self.done = []     # (due, seconds it took)
        self.failed = []
        self.lock = threading.Lock()
        self.next = 0
        self.begin = time.monotonic() + 0.2
        self.threads = [threading.Thread(target=self.work) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def work(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while True:
            with self.lock:
                if self.next == len(self.due):
                    return
                number = self.next
                self.next += 1
            due = self.due[number]
            time.sleep(max(0, self.begin + due - time.monotonic()))
            body = json.dumps({"model": "auto", "messages": [
                {"role": "user", "content": f"turn the lights of room {number} down a little"}]})
            try:
                connection.request("POST", "/v1/chat/completions", body,
                                   {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failed.append(answer.status)
            except OSError as failure:
                self.failed.append(repr(failure))
                connection.close()
            self.done.append((due, time.monotonic() - self.begin - due))


def p99_ms(times):
    times = sorted(times)
    return 1000 * times[len(times) - 1 - len(times) // 100]


def run(folder, rate, seed):
    """Queries, those that failed, p99 before and in the reload's second, what the reload took."""
    from harness import client, gateway as gateways
    from harness.backend import Backend, openai
    backends = [Backend(openai("ok", pause=0.04)) for _ in range(2)]
    gateway = gateways.Gateway(folder, policy(backends, edited=False))
    try:
        gateway.wait_ready()
        load = Load(gateway.port, rate, CALM + AFTER, seed)
        gateway.write({"loops": 2, **policy(backends, edited=True)})
        time.sleep(max(0, load.begin + CALM - time.monotonic()))
        began = time.monotonic()
        answer = client.post(gateway, "/hatchway/reload", {})
        took = time.monotonic() - began
        assert answer.status == 200, answer
        for thread in load.threads:
            thread.join()
        assert gateway.metric("hatchway_config_reloads_total", result="ok") == 1
    finally:
        gateway.stop()
        for backend in backends:
            backend.kill()
    reloaded = began - load.begin
    before = [took for due, took in load.done if 1 <= due < reloaded - 0.1]
    within = [took for due, took in load.done if reloaded - 0.1 <= due < reloaded + 1]
    return len(load.done), load.failed, p99_ms(before), p99_ms(within), 1000 * took


def main():
    options = arguments()
    os.environ["HATCHWAY_BINARY"] = options.binary
    sys.path.insert(0, str(ROOT / "tests"))
    ratios, failed = [], 0
    print("| run | queries | failed | p99 before, ms | p99 of the second, ms | ratio | reload, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.runs):
            count, failures, before, within, took = run(pathlib.Path(folder) / str(number),
                                                        options.rate, number)
            ratios.append(within / before)
            failed += len(failures)
            print(f"| {number + 1} | {count} | {len(failures)} | {before:.1f} | {within:.1f} | "
                  f"{within / before:.2f} | {took:.0f} |", flush=True)
            if failures:
                print(f"failures: {failures[:5]}", file=sys.stderr)
    median = statistics.median(ratios)
    print(f"\nmedian ratio {median:.2f}, {failed} failed")
    return 1 if options.check and (failed or median >= 2) else 0


if __name__ == "__main__":
    sys.exit(main())
