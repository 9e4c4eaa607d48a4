"""Three stories of the fleet, at its rates (time sped up): what happens, and what the metrics tell."""
import re
import threading

from harness import fleet
from harness.client import ask, post
from harness.fleet import ANSWER
from harness.policy import ollama as ollama_backend
from harness.wait import until

SPEED = 10


def bdh_node(name, peer, device, **more):
    return {"name": name, "kind": "bdh", "url": peer.url, "device": device, **more}


class Traders:
    """Jr.s that ask for market analysis, one question after the other, each another one."""

    def __init__(self, gateway, count=3):
        self.gateway = gateway
        self.answers = []
        self.failures = []
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.ask_on, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def ask_on(self, number):
        turn = 0
        while not self.done.is_set():
            turn += 1
            try:
                answer = post(self.gateway, "/api/bdh/ask",
                              {"question": f"Does the market carry hedge {number}.{turn}?"})
                assert (answer.status, answer.text) == (200, ANSWER), answer
                self.answers.append((answer.backend, answer.json()["device"]))
            except Exception as failure:
                self.failures.append(failure)

    def all_come_from(self, backend, device, count):
        """The latest `count` answers, all asked from now on, are this backend's."""
        begin = len(self.answers)

        def settled():
            latest = self.answers[begin:][-count:]
            return self.failures or len(latest) == count and set(latest) == {(backend, device)}
        until(settled, 60, f"{backend} answers")
        assert not self.failures, self.failures

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join()


def asked_by_query(gateway):
    """{request: [backends that it was sent to]}, from the trace."""
    found = {}
    for request, name in re.findall(r"(\S+) attempt \d+ to (\S+)", gateway.log()):
        found.setdefault(request, []).append(name)
    return found


def test_mountains_fall(hatchway, backend):
    redfin, bluefin = (backend(fleet.cuda(speed=SPEED).ollama) for _ in range(2))
    sasass2 = backend(fleet.mps(speed=SPEED).ollama)
    sasass = backend(fleet.cpu(speed=SPEED).bdh("cpu"))
    gateway = hatchway(
        env={"HATCHWAY_TRACE": "exchange"}, cache={"keep": "none"},
        probes={"interval": "300ms", "timeout": "2s"}, breaker={"slow_start": "2s"},
        backends=[ollama_backend("redfin", redfin, device="cuda", roles=["trading"], max_inflight=4),
                  ollama_backend("bluefin", bluefin, device="cuda", general=True, max_inflight=4),
                  ollama_backend("sasass2", sasass2, device="mps", general=True, max_inflight=2),
                  bdh_node("sasass", sasass, "cpu", general=True)],
        roles={"trading": {"keywords": ["market", "hedge"]}},
        routes=[{"name": "trading", "when": {"role": "trading"}, "to": {"role": "same"},
                 "overflow": {"device": "cuda"}, "fallback": {"device": ["mps", "cpu"]}},
                {"name": "default"}])
    traders = Traders(gateway)
    try:
        traders.all_come_from("redfin", "cuda", 10)

        redfin.kill()
        traders.all_come_from("bluefin", "cuda", 10)
        until(lambda: gateway.metric("hatchway_backend_up", backend="redfin") == 0, 30)

        bluefin.kill()
        sasass2.kill()
        traders.all_come_from("sasass", "cpu", 3)
        until(lambda: gateway.metric("hatchway_backend_up") == 1, 30)
        assert gateway.metric("hatchway_backend_out", backend="bluefin") >= 1

        for peer in redfin, bluefin, sasass2:
            peer.revive()
        traders.all_come_from("redfin", "cuda", 10)
    finally:
        traders.stop()

    assert not traders.failures, traders.failures  # no query is lost
    for names in asked_by_query(gateway).values():
        assert len(names) == len(set(names)), names  # none asks a dead node twice
    until(lambda: gateway.metric("hatchway_backend_up") == 4, 30)
    asked = len(traders.answers)
    assert gateway.metric("hatchway_requests_total", route="trading", code="200") == asked
    assert gateway.metric("hatchway_attempts_total", result="ok") == asked
    for name in "redfin", "bluefin", "sasass":
        answered = [who for who, _ in traders.answers].count(name)
        assert gateway.metric("hatchway_attempts_total", backend=name, result="ok") == answered > 0
    # What the deaths cost is bounded: breakers and probes end it.
    assert 0 < gateway.metric("hatchway_retries_total") < 40


def test_the_long_question(hatchway, backend):
    node = backend(fleet.Device(200, 57, speed=SPEED).bdh("mps"))
    llama = backend(fleet.mps(speed=SPEED).ollama)
    gateway = hatchway(
        backends=[ollama_backend("sasass2-llama", llama, device="mps", roles=["archive"],
                                 general=True, quality=10, context=8192),
                  bdh_node("sasass2-bdh", node, "mps", roles=["archive"])],
        roles={"archive": {"keywords": ["archive", "records"]}},
        routes=[{"name": "long-context", "when": {"prompt_tokens": ">8192"},
                 "to": {"kind": "bdh", "device": ["cuda", "mps"]}, "fallback": {"kind": "bdh"}},
                {"name": "specialist", "when": {"role": "archive"}, "to": {"role": "same"}},
                {"name": "default"}])
    sentence = "What do the records of the old ticket system say about the river project? "
    short = (sentence * 14)[:1024]
    long = (sentence * 1400)[:100 * 1024]

    for question, name, route in ((short, "sasass2-llama", "specialist"),
                                  (long, "sasass2-bdh", "long-context")):
        answer = ask(gateway, question, max_tokens=200)
        assert (answer.text, answer.backend) == (ANSWER, name)
        assert answer.headers["x-hatchway-route"] == route
        assert answer.headers["x-hatchway-role"] == "archive"  # the same words, the same role
        why = post(gateway, "/hatchway/explain", {"query": question}).json()
        assert (why["route"], why["candidates"][0]["backend"]) == (route, name)

    assert node.requests[0].json()["question"] == long  # not a byte is missing
    assert "prompt_tokens" in str(post(gateway, "/hatchway/explain", {"query": short}).json()
                                  ["routes_passed_over"])
    for route in "specialist", "long-context":
        assert gateway.metric("hatchway_requests_total", route=route, code="200") == 1
    assert gateway.metric("hatchway_classified_total", role="archive") == 2
    assert gateway.metric("hatchway_attempts_total", result="ok") == 2
