#!/usr/bin/python3
"""CPU time per request: Hatchway beside nginx and HAProxy, in one run.

    bench/gateway.py [--seconds 5] [--rounds 3] [--connections 16] [--binary build/release/hatchway]

Every server gets one core (core 0), the load (wrk) and the relay's upstream (an nginx that answers a
canned chat completion) get the other. What is measured is the server's own CPU time (user + system,
from /proc) divided by the requests that it answered: absolute times drift on shared machines, the
ratios of one run hold. Rounds interleave the servers; the median of the rounds is printed.

Needs: nginx, haproxy, wrk (Debian packages).
"""
import argparse
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICK = os.sysconf("SC_CLK_TCK")
QUERY = {
    "model": "auto",
    "temperature": 0,
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is Hatchway?"},
    ],
}
ANSWER = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion",
    "created": 1760000000,
    "model": "small",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hatchway is one HTTP endpoint for every agent of a small fleet."},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 24, "completion_tokens": 14, "total_tokens": 38},
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(argv, core, **kwargs):
    return subprocess.Popen(
        ["taskset", "-c", str(core)] + argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kwargs
    )


def wait_port(port, seconds=10):
    for _ in range(int(seconds * 50)):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit(f"nothing listens on port {port}")


def ask(port, path, body, headers=None):
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    conn.request("POST", path, json.dumps(body), {"content-type": "application/json", **(headers or {})})
    answer = conn.getresponse()
    text = answer.read()
    conn.close()
    return answer, text


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(c) for c in f.read().split()]


class Server:
    """One server under test: how to start it, and which processes count."""

    def __init__(self, name, port, process, counted):
        self.name, self.port, self.process, self.counted = name, port, process, counted


def nginx_conf(directory, name, port, location, extra=""):
    name = re.sub(r"\W+", "-", name)
    path = os.path.join(directory, f"{name}.conf")
    with open(path, "w") as f:
        f.write(
            f"""
worker_processes 1; daemon off; pid {directory}/{name}.pid; error_log {directory}/{name}.err;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {directory}/{name}-body;
  proxy_temp_path {directory}/{name}-proxy; fastcgi_temp_path {directory}/{name}-f;
  uwsgi_temp_path {directory}/{name}-u; scgi_temp_path {directory}/{name}-s;
  {extra}
  server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ {location} }} }}
}}
"""
        )
    return path


def start_nginx(directory, name, location, core, extra=""):
    port = free_port()
    conf = nginx_conf(directory, name, port, location, extra)
    process = start(["nginx", "-c", conf, "-p", directory], core)
    wait_port(port)
    return Server(name, port, process, lambda: children(process.pid))


def canned():
    return "default_type application/json; return 200 '%s';" % json.dumps(ANSWER).replace("'", "")


def start_haproxy(directory, upstream, core):
    port = free_port()
    path = os.path.join(directory, "haproxy.cfg")
    with open(path, "w") as f:
        f.write(
            f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  http-reuse always
  server s 127.0.0.1:{upstream}
"""
        )
    process = start(["haproxy", "-db", "-f", path], core)
    wait_port(port)
    return Server("HAProxy, relay", port, process, lambda: [process.pid])


def start_hatchway(directory, binary, upstream, core):
    port = free_port()
    path = os.path.join(directory, "hatchway.yaml")
    with open(path, "w") as f:
        f.write(
            f"""
listen: 127.0.0.1:{port}
loops: 1
access_log: off
cache: {{ memory: 64MiB }}
backends:
  - {{ name: upstream, kind: openai, url: "http://127.0.0.1:{upstream}", models: [small], general: true }}
"""
        )
    process = start([binary, "serve", "-c", path], core)
    wait_port(port)
    return Server("Hatchway", port, process, lambda: [process.pid])


def lua(directory, name, body, headers):
    path = os.path.join(directory, f"{name}.lua")
    lines = ['wrk.method = "POST"', f"wrk.body = {json.dumps(json.dumps(body))}"]
    lines += [f'wrk.headers["{k}"] = "{v}"' for k, v in {"Content-Type": "application/json", **headers}.items()]
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    return path


def load(server, script, args):
    pids = server.counted()
    before = cpu_seconds(pids)
    out = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "-s", script,
         f"http://127.0.0.1:{server.port}/v1/chat/completions"],
        capture_output=True, text=True, check=True,
    ).stdout
    used = cpu_seconds(pids) - before
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    if bad or "Socket errors" in out:
        sys.exit(f"{server.name}: the run had errors\n{out}")
    return used / requests * 1e6, requests / args.seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--binary", default=os.path.join(ROOT, "build/release/hatchway"))
    args = parser.parse_args()
    for tool in ("nginx", "haproxy", "wrk", "taskset"):
        if shutil.which(tool) is None and not os.path.exists(f"/usr/sbin/{tool}"):
            sys.exit(f"{tool} is missing: apt-get install nginx-light haproxy wrk util-linux")
    os.environ["PATH"] += ":/usr/sbin"
    directory = tempfile.mkdtemp(prefix="hatchway-bench-")
    os.chmod(directory, 0o755)  # nginx workers run as another user
    servers = []
    try:
        run(args, directory, servers)
    finally:
        for server in servers:
            server.process.send_signal(signal.SIGTERM)
        for server in servers:
            server.process.wait(10)
        shutil.rmtree(directory, ignore_errors=True)


def run(args, directory, servers):
    upstream = start_nginx(directory, "upstream", canned(), 1)
    servers.append(upstream)
    returns = start_nginx(directory, "nginx, return", canned(), 0)
    servers.append(returns)
    proxy = start_nginx(
        directory, "nginx, relay",
        'proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";', 0,
        extra=f"upstream up {{ server 127.0.0.1:{upstream.port}; keepalive 64; keepalive_requests 100000000; }}",
    )
    servers.append(proxy)
    haproxy = start_haproxy(directory, upstream.port, 0)
    servers.append(haproxy)
    hatchway = start_hatchway(directory, args.binary, upstream.port, 0)
    servers.append(hatchway)

    answer, _ = ask(hatchway.port, "/v1/chat/completions", QUERY)
    again, text = ask(hatchway.port, "/v1/chat/completions", QUERY)
    if again.status != 200 or again.getheader("x-hatchway-cache") != "hit":
        sys.exit(f"expected a hit, got {again.status} {again.getheader('x-hatchway-cache')} {text[:200]}")
    stream = {**QUERY, "stream": True}
    hit = lua(directory, "hit", QUERY, {})
    streamed_hit = lua(directory, "streamed-hit", stream, {})
    relay = lua(directory, "relay", QUERY, {"Cache-Control": "no-cache"})
    rows = [
        ("nginx `return` (reads the POST, canned answer)", returns, hit),
        ("Hatchway, hit", hatchway, hit),
        ("Hatchway, hit, streamed", hatchway, streamed_hit),
        ("nginx, relay (keep-alive upstream)", proxy, relay),
        ("HAProxy, relay", haproxy, relay),
        ("Hatchway, relay", hatchway, relay),
    ]
    figures = {name: [] for name, _, _ in rows}
    for _ in range(args.rounds):
        for name, server, script in rows:
            figures[name].append(load(server, script, args))
    median = {name: statistics.median(f[0] for f in runs) for name, runs in figures.items()}
    print("| one core | CPU us a request | requests/s | ratio |")
    print("| --- | --- | --- | --- |")
    for name, _, _ in rows:
        base = rows[3][0] if "relay" in name else rows[0][0]
        rate = statistics.median(f[1] for f in figures[name])
        print(f"| {name} | {median[name]:.1f} | {rate:,.0f} | {median[name] / median[base]:.2f} |")
    print("\nratio: to nginx of the same job (`return` for hits, relay for relays)")


if __name__ == "__main__":
    main()
