"""The real binary, as a process that a test starts, asks, signals and stops."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from harness import client
from harness.wait import free_port, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("HATCHWAY_BINARY", str(ROOT / "build" / "release" / "hatchway"))
VECTORS = ROOT / "tests" / "vectors" / "bdh"
HATCHLING = str(ROOT / "models" / "hatchling.safetensors")
# Random weights: it says garbage, but always the same, and fast under ASan too.
TINY_MODEL = str(VECTORS / "h3_d20_s002" / "model.safetensors")

START_SECONDS = 30
STOP_SECONDS = 40


def sanitized():
    with open(BINARY, "rb") as f:
        return b"__asan_init" in f.read()


def environment(extra=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("HATCHWAY_")}
    env["ASAN_OPTIONS"] = "detect_leaks=1:exitcode=99"
    env["UBSAN_OPTIONS"] = "print_stacktrace=1"
    env["TSAN_OPTIONS"] = f"suppressions={ROOT}/tests/tsan.supp"
    env.update(extra or {})
    return env


def run(*args, stdin=b"", env=None, seconds=60):
    """hatchway ARGS... to its end."""
    done = subprocess.run([BINARY, *map(str, args)], input=stdin, capture_output=True,
                          env=environment(env), timeout=seconds, check=False)
    assert_no_finding(done.stderr.decode(errors="replace"))
    return done


def assert_no_finding(text):
    found = re.search(r".*(ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer)", text)
    if found:
        raise AssertionError(text[found.start():found.start() + 8000])


class Gateway:
    """config: the keys of the YAML as a dict, or its text. listen is added."""

    def __init__(self, folder, config, env=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.file = folder / "hatchway.yaml"
        self.write(config)
        self.stdout = folder / "stdout"
        self.stderr = folder / "stderr"
        self.stopped = False
        with open(self.stdout, "wb") as out, open(self.stderr, "wb") as err:
            self.process = subprocess.Popen([BINARY, "serve", "-c", str(self.file)], stdout=out,
                                            stderr=err, stdin=subprocess.DEVNULL,
                                            env=environment(env))
        self.pid = self.process.pid

    def write(self, config):
        """JSON is YAML. A text gets its listen line at the end, so that its lines keep their place."""
        listen = f"127.0.0.1:{self.port}"
        if isinstance(config, dict):
            text = json.dumps({"listen": listen, "loops": 2, **config}, indent=1)
        else:
            text = f"{config}\nlisten: {listen}\n"
        # In one step: the gateway watches the file.
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.file)

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, f"ended at its start: {self.log()}"
            try:
                return client.get(self, "/ready", seconds=5).status == 200
            except OSError:
                return False

        def all_up():
            """One backend is enough to be ready; a test wants all, whichever loop it gets."""
            samples = [self.metrics() for _ in range(3)]
            return all(value for each in samples for name, value in each.items()
                       if name.startswith("hatchway_backend_up"))
        until(ready, START_SECONDS, "/ready says yes")
        until(all_up, START_SECONDS)
        return self

    def log(self):
        return self.stderr.read_text(errors="replace")

    def access_log(self, count=1):
        """The lines so far, at least count of them: the writer is a thread of its own."""
        def lines():
            text = self.stdout.read_text()
            whole = text[:text.rfind("\n") + 1].splitlines()
            return whole if len(whole) >= count else None
        return [json.loads(line) for line in until(lines, what=f"{count} lines in the access log")]

    def metrics(self):
        """{'name{label="value"}': number}"""
        text = client.get(self, "/metrics").body.decode()
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def metric(self, name, **labels):
        """The sum over all samples of name that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(value for sample, value in self.metrics().items()
                   if re.match(name + r"(\{|$)", sample) and all(w in sample for w in wanted))

    def counts(self, value, name, **labels):
        """Whether the metric comes to this value: a query is counted when its answer has left, by a
        loop of its own, so who has read the answer may be a moment ahead of that."""
        return until(lambda: self.metric(name, **labels) == value, what=f"{name} {labels} is {value}")

    def inflight(self):
        return self.metric("hatchway_backend_inflight")

    def workers(self):
        """Pids of the worker processes, oldest first."""
        return [pid for pid in children(self.pid) if b"worker" in command_line(pid)]

    def rss_bytes(self):
        return int(re.search(r"VmRSS:\s+(\d+) kB",
                             pathlib.Path(f"/proc/{self.pid}/status").read_text()).group(1)) * 1024

    def signal(self, number):
        self.process.send_signal(number)

    def wait_end(self, seconds=STOP_SECONDS):
        status = self.process.wait(seconds)
        self.stopped = True
        assert_no_finding(self.log())
        return status

    def stop(self):
        """SIGTERM, and the end must be a clean one."""
        if self.stopped:
            return
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            status = self.wait_end()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.stopped = True
            raise AssertionError(f"still there {STOP_SECONDS} s after SIGTERM: {self.log()}") from None
        assert status == 0, f"exit status {status}: {self.log()[-8000:]}"


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def children(pid):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append((int(fields[19]), int(entry.name)))
    return [child for _, child in sorted(found)]


def seconds_until_free(gateway, seconds=2.0):
    """Waits until no backend has a query any more; returns how long that took."""
    began = time.monotonic()
    until(lambda: gateway.inflight() == 0, seconds, "inflight is 0")
    return time.monotonic() - began
