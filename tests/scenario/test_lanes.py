"""Lanes and hours at work: who takes background queries when, and what is told of it."""
import time

from harness.backend import openai
from harness.client import ask, get, post
from harness.gateway import run
from harness.policy import openai as openai_backend


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
