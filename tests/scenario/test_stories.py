"""Three stories of the fleet, at its rates (time sped up): what happens, and what the metrics tell."""
import random
import re
import threading
import time

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
    assert gateway.counts(asked, "hatchway_requests_total", route="trading", code="200")
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
        assert gateway.counts(1, "hatchway_requests_total", route=route, code="200")
    assert gateway.metric("hatchway_classified_total", role="archive") == 2
    assert gateway.metric("hatchway_attempts_total", result="ok") == 2


# --- a day and a night --------------------------------------------------------------------------

def zone_where_it_is(hour):
    """A time zone whose clock now shows this hour (POSIX writes the sign the other way round)."""
    ahead = (hour - time.gmtime().tm_hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}"


def day_and_night(hour, bluefin, spare, live, dream):
    """bluefin is the conscious one, redfin's GPU 1 takes what is too much for it, and on GPU 0
    trading is live by day and night while dreams have a quarter of it."""
    return {
        "timezone": zone_where_it_is(hour),
        "devices": {"redfin-gpu0": {"class": "cuda", "max_inflight": 4,
                                    "shares": {"live": "75%", "background": "25%"}}},
        "backends": [
            ollama_backend("bluefin", bluefin, device="cuda", general=True, max_inflight=6,
                           lanes=["realtime", "interactive"]),
            ollama_backend("redfin-gpu1", spare, device="cuda", max_inflight=6,
                           lanes=["realtime", "interactive"]),
            ollama_backend("redfin-live", live, device="redfin-gpu0", roles=["trading"],
                           lanes=["realtime", "interactive"]),
            ollama_backend("redfin-dream", dream, device="redfin-gpu0",
                           lanes={"background": "dream"})],
        "roles": {"trading": {"keywords": ["market"]}},
        "routes": [
            {"name": "dream-now", "when": {"header": {"x-dream": "now"}}, "lane": "background",
             "on_demand": True, "to": {"backend": "redfin-dream"}},
            {"name": "dreams", "when": {"lane": "background"}, "to": {"backend": "redfin-dream"}},
            {"name": "trading", "when": {"role": "trading"}, "to": {"role": "same"}},
            {"name": "conscious", "to": {"backend": "bluefin"},
             "overflow": {"backend": "redfin-gpu1"}}]}


class Agents:
    """Queries at their times, whatever becomes of those before (an open loop)."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.dice = random.Random(7)
        self.asked = 0
        self.known = []   # questions that have been answered

    def question(self, subject):
        self.asked += 1
        return f"{subject} {self.asked}: what is to be done?"

    def ask(self, text, answers, **more):
        answers.append(ask(self.gateway, text, seconds=60, **more))
        if answers[-1].status == 200:
            self.known.append(text)

    def at_work(self, seconds, rate, repeats=0.6, dreams=0, headers=None):
        """The answers to live queries, and to as many dreams as were posted at once in the middle."""
        live, dreamt, threads = [], [], []
        begin, at = time.monotonic(), 0.0
        due = [seconds / 4] * dreams
        while at < seconds:
            at += self.dice.expovariate(rate)
            while due and due[0] <= at:
                due.pop()
                threads.append(threading.Thread(target=self.ask, args=(self.question("dream"), dreamt),
                                                kwargs={"headers": headers}))
                threads[-1].start()
            if self.known and self.dice.random() < repeats:
                text = self.dice.choice(self.known)
            else:
                text = self.question("market" if self.dice.random() < 0.2 else "engine")
            time.sleep(max(0, begin + at - time.monotonic()))
            threads.append(threading.Thread(target=self.ask, args=(text, live)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        assert {answer.status for answer in live} == {200}
        return live, dreamt


def p99_ms(lines):
    times = sorted(line["duration_us"] for line in lines)
    return times[len(times) - 1 - len(times) // 100] / 1000


def log_of(gateway, answers):
    """The gateway's own log of these answers."""
    wanted = {answer.headers["x-request-id"] for answer in answers}

    def lines():
        found = [line for line in gateway.access_log() if line["request_id"] in wanted]
        return found if len(found) == len(wanted) else None
    return until(lines, 30, "all are in the log")


def misses(gateway, answers):
    return log_of(gateway, [answer for answer in answers if answer.cache == "miss"])


def test_a_day_and_a_night(hatchway, backend):
    gpu0 = fleet.Hardware()
    conscious = fleet.Device(80, 800)
    bluefin, spare = backend(conscious.ollama), backend(fleet.Device(80, 800).ollama)
    live = backend(fleet.Device(80, 800, hardware=gpu0).ollama)
    dream = backend(fleet.Device(60, 400, hardware=gpu0, what="dream").ollama)
    peers = bluefin, spare, live, dream
    gateway = hatchway(**day_and_night(12, *peers))
    agents = Agents(gateway)

    def answered(name):
        return gateway.metric("hatchway_attempts_total", backend=name, result="ok")

    def later(hour):
        gateway.write({"loops": 2, **day_and_night(hour, *peers)})
        assert post(gateway, "/hatchway/reload", {}).status == 200

    # Noon: 150 queries a second, six of ten are repeats.
    noon, _ = agents.at_work(3, rate=150)
    hits = [answer for answer in noon if answer.cache == "hit"]
    quick = [line for line in log_of(gateway, hits) if line["duration_us"] < 10000]
    assert len(quick) > 0.9 * len(hits)
    assert 0.45 * len(noon) < len(hits) == gateway.metric("hatchway_cache_requests_total", result="hit")
    assert answered("bluefin") > answered("redfin-gpu1") > 0
    assert answered("redfin-live") > 0
    assert gateway.metric("hatchway_backend_lane_open", backend="redfin-dream", lane="background") == 0
    refused = ask(gateway, "dream of nothing", headers={"X-Hatchway-Lane": "background"})
    assert refused.status == 503 and 12 * 3600 < int(refused.headers["retry-after"]) <= 14 * 3600
    usual_ms = p99_ms(misses(gateway, noon))

    # 14:00, a dream job on demand: all at once, and nobody who is awake notices.
    later(14)
    day, dreamt = agents.at_work(3, rate=150, dreams=12, headers={"X-Dream": "now"})
    assert {answer.backend for answer in dreamt} == {"redfin-dream"} and len(dreamt) == 12
    assert p99_ms(misses(gateway, day)) < 2 * usual_ms + 100
    assert gateway.counts(12, "hatchway_requests_total", route="dream-now", code="200")
    assert gateway.metric("hatchway_device_share_slots", device="redfin-gpu0", share="background") == 1

    # 03:00, the consolidation: nobody has to demand it any more.
    later(3)
    assert gateway.metric("hatchway_backend_lane_open", backend="redfin-dream", lane="background") == 1
    night, dreamt = agents.at_work(2, rate=60, dreams=12,
                                   headers={"X-Hatchway-Lane": "background"})
    assert {answer.backend for answer in dreamt} == {"redfin-dream"} and len(dreamt) == 12
    assert p99_ms(misses(gateway, night)) < 2 * usual_ms + 100
    assert gateway.counts(12, "hatchway_requests_total", route="dreams", code="200")

    assert answered("redfin-dream") == 24 == len(dream.requests)
    assert gpu0.most["dream"] == 1  # a quarter of four, whatever was posted
    assert gateway.counts(1, "hatchway_requests_total", route="dreams", code="503")
    assert gateway.counts(len([*noon, *day, *night]) + 24, "hatchway_requests_total", code="200")
    assert gateway.metric("hatchway_device_inflight", device="redfin-gpu0") == 0
    assert gateway.metric("hatchway_config_reloads_total", result="ok") == 2
