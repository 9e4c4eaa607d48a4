"""The fleet's devices as scripted backends, at the rates that were measured, or a multiple of them.

A device answers after its time to the first token, its rate, and a tenth more for each other query
that it works on. Devices that share a `Hardware` share that."""
import threading
import time

from harness.backend import ndjson, ollama_last, ollama_line

ANSWER = "The ridge holds; keep the hedge for now."  # 40 bytes


class Hardware:
    def __init__(self):
        self.lock = threading.Lock()
        self.active = {}   # now, by what works on it
        self.most = {}     # at a time, ever

    def enter(self, what):
        with self.lock:
            self.active[what] = self.active.get(what, 0) + 1
            self.most[what] = max(self.most.get(what, 0), self.active[what])
            return sum(self.active.values()) - 1

    def leave(self, what):
        with self.lock:
            self.active[what] -= 1


class Device:
    """Milliseconds to the first token, bytes of text a second; `speed`: so many times as fast."""

    def __init__(self, ttft_ms, bytes_s, speed=1.0, hardware=None, what="live"):
        self.ttft = ttft_ms / 1000 / speed
        self.writing = len(ANSWER) / bytes_s / speed
        self.hardware = hardware or Hardware()
        self.what = what

    def work(self, seconds, others):
        time.sleep(seconds * (1 + 0.1 * others))

    def ollama(self, reply):
        """As Ollama streams it."""
        model = reply.request.json()["model"]
        others = self.hardware.enter(self.what)
        try:
            self.work(self.ttft, others)
            reply.head(content_type="application/x-ndjson")
            half = len(ANSWER) // 2
            for piece in ANSWER[:half], ANSWER[half:]:
                self.work(self.writing / 2, others)
                reply.chunk(ndjson(ollama_line(model, piece)))
        finally:
            self.hardware.leave(self.what)  # before its end is said: the next one comes at once
        reply.chunk(ndjson(ollama_last(model)))
        reply.end()

    def bdh(self, device):
        """As a BDH node says it: whole, and on what."""
        def answer(reply):
            others = self.hardware.enter(self.what)
            try:
                self.work(self.ttft + self.writing, others)
            finally:
                self.hardware.leave(self.what)
            reply.whole({"answer": ANSWER, "model": "bdh-25m", "device": device,
                         "source": "dragon_hatchling"})
        return answer


def cuda(**more):
    return Device(30, 800, **more)


def mps(**more):
    return Device(120, 120, **more)


def cpu(**more):
    return Device(500, 8, **more)
