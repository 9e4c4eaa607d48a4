"""Lanes and hours at work: who takes background queries when, and what is told of it."""
import threading
import time

from harness.backend import openai
from harness.client import ask, get, post
from harness.gateway import run
from harness.policy import openai as openai_backend
from harness.wait import until


def hours(first, last):
    """Windows of UTC by the hour, relative to now: hours(2, 4) begins in one to two hours."""
    now = int(time.time()) // 3600
    return f"{(now + first) % 24:02d}-{(now + last) % 24:02d}"


def shown(gateway, name):
    return {b["name"]: b for b in get(gateway, "/hatchway/backends").json()["backends"]}[name]


def test_background_queries_keep_to_the_hours_of_backends(hatchway, backend):
    gateway = hatchway(
        timezone="UTC", schedule={"dream": hours(2, 4)},
        backends=[openai_backend("live", backend(openai("live")), lanes=["realtime", "interactive"]),
                  openai_backend("dreamer", backend(openai("dreamer")),
                                 lanes={"background": "dream"})],
        routes=[{"name": "now", "when": {"header": {"x-dream": "now"}}, "on_demand": True},
                {"name": "all"}], cache={"keep": "none"})

    assert ask(gateway, "hello").text == "live"
    refused = ask(gateway, "hello", headers={"X-Hatchway-Lane": "background"})
    assert refused.status == 503
    assert 3600 < int(refused.headers["retry-after"]) <= 7200
    assert "background queries of route all" in refused.error and " h " in refused.error
    unknown = ask(gateway, "hello", headers={"X-Hatchway-Lane": "slow"})
    assert unknown.status == 400 and "interactive or background" in unknown.error
    demanded = ask(gateway, "hello", headers={"X-Hatchway-Lane": "background", "X-Dream": "now"})
    assert demanded.text == "dreamer"

    assert shown(gateway, "live")["lanes"]["background"] == "takes only realtime and interactive"
    assert shown(gateway, "dreamer")["lanes"]["realtime"] == "takes only background"
    assert "takes background within dream" in shown(gateway, "dreamer")["lanes"]["background"]
    assert gateway.metric("hatchway_backend_lane_open", backend="live", lane="realtime") == 1
    assert gateway.metric("hatchway_backend_lane_open", backend="dreamer", lane="background") == 0
    told = post(gateway, "/hatchway/explain", {"query": "hello", "lane": "background"}).json()
    assert {e["backend"]: e["why"] for e in told["excluded"]} == {
        "live": "lane", "dreamer": "out of hours"}
    told = post(gateway, "/hatchway/explain", {"query": "hello", "lane": "background",
                                               "at": hours(2, 4)[:2] + ":30"}).json()
    assert [c["backend"] for c in told["candidates"]] == ["dreamer"]


def test_within_its_hours_a_dreamer_dreams(hatchway, backend):
    gateway = hatchway(
        timezone="UTC",
        backends=[openai_backend("dreamer", backend(openai("dreamer")),
                                 lanes={"background": [hours(-2, 2)]})], cache={"keep": "none"})

    assert ask(gateway, "hello", headers={"X-Hatchway-Lane": "background"}).text == "dreamer"
    assert shown(gateway, "dreamer")["lanes"]["background"] == "open"
    nobody = ask(gateway, "hello")
    assert nobody.status == 503 and nobody.headers["retry-after"] == "1"
    assert "no backend of route default takes interactive queries" in nobody.error


def test_route_at_another_time(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("""
timezone: Europe/Berlin
backends:
  - { name: a, kind: ollama, url: "http://127.0.0.1", models: [m], general: true,
      lanes: { interactive: any, background: dream } }
""")

    def route(*more):
        return run("route", "-c", file, *more, "hello").stdout.decode()

    assert "backend  a, expected" in route("--lane", "background", "--at", "03:00")
    told = route("--lane", "background", "--at", "sat 01:00")
    assert "not      a: takes background within dream (02-06), next in 1 h 0 min" in told
    wrong = run("route", "-c", file, "--at", "3 pm", "hello")
    assert wrong.returncode == 1 and b"'3 pm' is no time; write 03:00" in wrong.stderr


class Held:
    """A backend that keeps its queries until it is told to answer them with its name."""

    def __init__(self, name):
        self.name = name
        self.go_on = threading.Event()

    def __call__(self, reply):
        self.go_on.wait(20)
        openai(self.name)(reply)


def asking(gateway, answers, **more):
    """An agent of its own; its answer goes to the list."""
    agent = threading.Thread(target=lambda: answers.append(ask(gateway, "hello", **more)))
    agent.start()
    return agent


def crowded(hatchway, backend, **route):
    """redfin has room for one query, and has it; bluefin and the cpu have nothing to do."""
    held = Held("redfin")
    gateway = hatchway(
        backends=[openai_backend("redfin", backend(held), device="cuda", max_inflight=1),
                  openai_backend("bluefin", backend(openai("bluefin")), device="cuda"),
                  openai_backend("cpu", backend(openai("cpu")))],
        routes=[{"name": "all", "to": {"backend": "redfin"}, "fallback": {"backend": "cpu"},
                 **route}], cache={"keep": "none"})
    answers = []
    first = asking(gateway, answers)
    until(lambda: gateway.metric("hatchway_backend_inflight", backend="redfin") == 1)
    return gateway, held, answers, first


def test_overflow_goes_where_the_route_says(hatchway, backend):
    gateway, held, answers, first = crowded(hatchway, backend, overflow={"backend": "bluefin"})

    assert ask(gateway, "hello").text == "bluefin"
    told = post(gateway, "/hatchway/explain", {"query": "hello"}).json()["candidates"]
    assert [(c["backend"], c["overflow"], c["fallback"], c["full"]) for c in told] == [
        ("bluefin", True, False, False), ("cpu", False, True, False), ("redfin", False, False, True)]
    held.go_on.set()
    first.join()
    assert answers[0].text == "redfin"
    assert ask(gateway, "hello").text == "redfin"


def test_without_overflow_the_fallback_takes_it_and_wait_waits(hatchway, backend):
    gateway, held, answers, first = crowded(hatchway, backend)
    assert ask(gateway, "hello").text == "cpu"
    held.go_on.set()
    first.join()

    gateway, held, answers, first = crowded(hatchway, backend, overflow="wait")
    second = asking(gateway, answers)
    until(lambda: gateway.metric("hatchway_queries_queued") == 1)
    held.go_on.set()
    first.join()
    second.join()
    assert [answer.text for answer in answers] == ["redfin", "redfin"]


def test_an_idle_backend_is_waited_for(hatchway, backend):
    held = Held("only")
    gateway = hatchway(backends=[openai_backend("only", backend(held), max_inflight=4)],
                       routes=[{"name": "dreams", "when": {"lane": "background"},
                                "to": {"idle": True}}, {"name": "live"}], cache={"keep": "none"})
    answers = []
    live = asking(gateway, answers)
    until(lambda: gateway.inflight() == 1)

    dream = asking(gateway, answers, headers={"X-Hatchway-Lane": "background"})
    until(lambda: gateway.metric("hatchway_queries_queued") == 1)
    also_live = asking(gateway, answers)
    until(lambda: gateway.inflight() == 2)
    held.go_on.set()
    for agent in live, dream, also_live:
        agent.join()

    assert [answer.text for answer in answers] == ["only"] * 3
    assert sorted(a.headers["x-hatchway-route"] for a in answers) == ["dreams", "live", "live"]


# --- live and dream work on one GPU ----------------------------------------------------------------

def device(gateway, name):
    return {d["name"]: d for d in get(gateway, "/hatchway/backends").json()["devices"]}[name]


def test_dreams_do_not_take_the_room_of_the_living(hatchway, backend):
    dreams, lives = Held("dream"), Held("live")
    gateway = hatchway(
        devices={"gpu0": {"class": "cuda", "memory": "12GiB", "max_inflight": 3,
                          "shares": {"live": "66.7%", "background": "33.3%"}}},
        backends=[openai_backend("live", backend(lives), device="gpu0",
                                 lanes=["realtime", "interactive"]),
                  openai_backend("dream", backend(dreams), device="gpu0", lanes="background")],
        cache={"keep": "none"})
    background, answers, agents = {"X-Hatchway-Lane": "background"}, [], []
    for _ in range(3):
        agents.append(asking(gateway, answers, headers=background))
    until(lambda: gateway.metric("hatchway_queries_queued") == 2)  # one dream runs, two wait

    for _ in range(2):
        agents.append(asking(gateway, answers))  # room was kept for them
    until(lambda: gateway.metric("hatchway_device_inflight", device="gpu0") == 3)
    assert device(gateway, "gpu0") == {
        "name": "gpu0", "class": "cuda", "memory": 12 << 30, "max_inflight": 3, "inflight": 3,
        "shares": {"live": {"slots": 2, "inflight": 2}, "background": {"slots": 1, "inflight": 1}}}
    assert shown(gateway, "dream")["on"] == "gpu0"
    assert shown(gateway, "dream")["lanes"]["background"] == "full: no room for it on gpu0"
    assert gateway.metric("hatchway_device_share_inflight", device="gpu0", share="live") == 2
    assert gateway.metric("hatchway_device_share_slots", device="gpu0", share="background") == 1
    told = post(gateway, "/hatchway/explain", {"query": "hello"}).json()["candidates"][0]
    assert (told["backend"], told["full"], told["full_why"]) == ("live", True, "device")
    assert told["queue_ms"] > 0  # the dream on the same GPU is in its way

    lives.go_on.set()
    dreams.go_on.set()
    for agent in agents:
        agent.join()
    assert sorted(answer.text for answer in answers) == ["dream"] * 3 + ["live"] * 2
    until(lambda: device(gateway, "gpu0")["inflight"] == 0)
    assert gateway.metric("hatchway_device_share_inflight") == 0


def test_a_reload_that_divides_a_device_anew_loses_nothing(hatchway, backend):
    held = Held("live")
    config = {"devices": {"gpu0": {"class": "cuda", "max_inflight": 1}}, "cache": {"keep": "none"},
              "backends": [openai_backend("live", backend(held), device="gpu0")]}
    gateway, answers = hatchway(**config), []
    first = asking(gateway, answers)
    until(lambda: device(gateway, "gpu0")["inflight"] == 1)

    second = asking(gateway, answers)
    until(lambda: gateway.metric("hatchway_queries_queued") == 1)
    config["devices"]["gpu0"]["max_inflight"] = 2
    gateway.write(config)
    assert post(gateway, "/hatchway/reload", "").status == 200
    until(lambda: device(gateway, "gpu0")["max_inflight"] == 2)
    held.go_on.set()
    first.join()
    second.join()
    assert [answer.text for answer in answers] == ["live", "live"]
    assert device(gateway, "gpu0")["inflight"] == 0
