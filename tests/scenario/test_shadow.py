"""Copies of queries for a backend that is being tried out: nobody reads what it says."""
import json
import signal
import threading

import pytest

from harness.backend import (bdh_node, closes, dies_after, goes_on, hangs, ollama, openai,
                             openai_whole, status)
from harness.client import Stream, ask, chat, post
from harness.gateway import run
from harness.policy import bdh, ollama as ollama_backend, openai as openai_backend
from harness.wait import until

KINDS = {"openai": (openai_backend, openai("copied")), "ollama": (ollama_backend, ollama("copied")),
         "bdh": (lambda name, peer, **more: {"name": name, "kind": "bdh", "url": peer.url, **more},
                 bdh_node("copied"))}


def tried(live, trial, kind="openai", shadow=None, **config):
    """Queries go to `live`, copies to `trial`."""
    make = KINDS[kind][0]
    return {"backends": [openai_backend("live", live), make("trial", trial, general=False)],
            "routes": [{"name": "all", "to": {"backend": "live"},
                        "shadow": {"to": {"backend": "trial"}, **(shadow or {})}}],
            "cache": {"keep": "none"}, "limits": {"retry_percent": 0}, **config}


def copies(gateway, result=None, **labels):
    if result:
        labels["result"] = result
    return gateway.metric("hatchway_shadow_requests_total", **labels)


def copied(gateway, count, result, **labels):
    until(lambda: copies(gateway, result, **labels) == count, 15, f"{count} copies are {result}")


@pytest.mark.parametrize("stream", [False, True])
def test_the_copy_says_what_the_query_said(hatchway, backend, stream):
    live, trial = backend(openai("an ", "answer")), backend(openai("another"))
    gateway = hatchway(**tried(live, trial))

    answer = ask(gateway, "question", stream=stream, a_new_field=[1, 2])

    assert (answer.text, answer.backend) == ("an answer", "live")
    copied(gateway, 1, "ok", route="all", backend="trial")
    assert trial.requests[0].body == live.requests[0].body
    assert trial.requests[0].headers["x-request-id"] == answer.headers["x-request-id"]
    assert gateway.metric("hatchway_shadow_duration_seconds_count", route="all") == 1
    assert gateway.metric("hatchway_shadow_time_to_first_token_seconds_count", backend="trial") == 1
    # Nothing of it is told as an answer, and nothing is learned from it.
    assert gateway.metric("hatchway_attempts_total", backend="trial") == 0
    assert gateway.metric("hatchway_time_to_first_token_seconds_count", backend="trial") == 0
    assert gateway.inflight() == 0


ASKED = {"openai": ("/v1/chat/completions", chat("what is it?")),
         "ollama": ("/api/chat", {"model": "auto", "messages": [
             {"role": "user", "content": "what is it?"}]}),
         "anthropic": ("/v1/messages", {"model": "auto", "max_tokens": 9, "messages": [
             {"role": "user", "content": "what is it?"}]}),
         "bdh": ("/api/bdh/ask", {"question": "what is it?"})}


@pytest.mark.parametrize("kind", KINDS)
def test_each_dialect_is_translated_for_each_kind(hatchway, backend, kind):
    live, trial = backend(openai("an answer")), backend(KINDS[kind][1])
    gateway = hatchway(**tried(live, trial, kind))

    for number, (path, body) in enumerate(ASKED.values()):
        assert post(gateway, path, body).status == 200
        copied(gateway, number + 1, "ok")

    for request in trial.requests:
        body = request.json()
        assert body.get("question") or body["messages"][-1]["content"] == "what is it?", body
        assert "what is it?" in str(body)


@pytest.mark.parametrize("trouble, result", [
    (closes, "broken"), (dies_after("half "), "broken"), (status(500), "status"),
    (status(404), "refused"),
    (lambda reply: reply.whole(b"<html>rubbish</html>", content_type="text/html"), "broken")])
def test_a_bad_copy_is_nobody_elses_trouble(hatchway, backend, trouble, result):
    live, trial = backend(openai("an answer")), backend(trouble)
    gateway = hatchway(**tried(live, trial))

    for number in range(8):
        assert ask(gateway, f"{number}", stream=number % 2 == 0).text == "an answer"

    copied(gateway, 8, result)
    assert gateway.metric("hatchway_breaker_state", backend="trial") == 0
    assert gateway.metric("hatchway_retries_total") == 0


def test_a_dead_backend(hatchway, backend):
    live, trial = backend(openai("an answer")), backend(openai("never"))
    gateway = hatchway(**tried(live, trial, probes={"interval": 0}))
    trial.kill()

    assert ask(gateway, "question").text == "an answer"

    copied(gateway, 1, "connect")


def test_a_slow_copy_holds_up_nothing_and_has_its_time(hatchway, backend):
    live, trial = backend(openai("an answer")), backend(hangs)
    gateway = hatchway(**tried(live, trial))
    shorter = tried(live, trial, timeouts={"first_byte": "300ms"})

    assert ask(gateway, "question").text == "an answer"
    until(lambda: trial.requests, what="the copy came")
    assert copies(gateway) == 0  # it is still there, and its query long over

    hurried = hatchway(**shorter)
    assert ask(hurried, "question", stream=True).text == "an answer"
    copied(hurried, 1, "timeout")


def test_an_answer_without_end_is_cut_at_its_time(hatchway, backend):
    live, trial = backend(openai("an answer")), backend(goes_on())
    gateway = hatchway(**tried(live, trial, timeouts={"total": "500ms"}))

    assert ask(gateway, "question", stream=True).text == "an answer"

    copied(gateway, 1, "timeout")
    until(lambda: trial.left, what="the backend sees it")


def test_the_agent_may_be_gone_and_so_may_the_plan(hatchway, backend):
    held = threading.Event()

    def waits(reply):
        assert held.wait(30)
        openai("late")(reply)

    live, trial = backend(openai("an answer")), backend(waits)
    config = tried(live, trial)
    gateway = hatchway(**config)
    assert ask(gateway, "question " * 20000).text == "an answer"

    gateway.write({**config, "routes": [{"name": "other", "to": {"backend": "live"}}]})
    until(lambda: gateway.metric("hatchway_config_reloads_total", result="ok") == 1)
    assert ask(gateway, "question").headers["x-hatchway-route"] == "other"
    held.set()

    copied(gateway, 1, "ok", route="all")
    assert len(trial.requests) == 1


def test_a_share_of_them(hatchway, backend):
    live, trial = backend(openai("an answer")), backend(openai("another"))
    gateway = hatchway(**tried(live, trial, shadow={"share": "25%", "max_inflight": 100}))

    for number in range(160):
        ask(gateway, f"{number}")

    until(lambda: copies(gateway) == len(trial.requests))
    assert 15 < len(trial.requests) < 68  # 40 are expected; five standard deviations


def test_hits_are_not_copied(hatchway, backend):
    live, trial = backend(openai("an answer")), backend(openai("another"))
    gateway = hatchway(**tried(live, trial, cache={"keep": "all"}))

    answers = [ask(gateway, "question") for _ in range(5)]

    assert [answer.cache for answer in answers] == ["miss", "hit", "hit", "hit", "hit"]
    assert {answer.text for answer in answers} == {"an answer"}
    copied(gateway, 1, "ok")
    assert len(trial.requests) == 1


def test_only_so_many_at_a_time(hatchway, backend):
    live, trial = backend(openai("an answer")), backend(hangs)
    gateway = hatchway(**tried(live, trial, shadow={"max_inflight": 2}))

    for number in range(6):
        assert ask(gateway, f"{number}").text == "an answer"

    copied(gateway, 4, "skipped", backend="none")
    until(lambda: len(trial.requests) == 2)


@pytest.mark.parametrize("loops", [1, 4])
def test_a_copy_gives_way_to_a_query(hatchway, backend, loops):
    """It is no reason to go elsewhere, or to wait, on whichever loop it runs."""
    live, trial = backend(openai("live")), backend(hangs, openai("trial", pause=0.3))
    config = tried(live, trial, loops=loops)
    config["backends"][1]["max_inflight"] = 1
    config["routes"].insert(0, {"name": "direct", "when": {"header": {"x-direct": "yes"}},
                                "to": {"backend": "trial"}, "fallback": {"backend": "live"}})
    gateway = hatchway(**config)
    ask(gateway, "question")
    until(lambda: trial.requests)

    answer = ask(gateway, "another", headers={"x-direct": "yes"})

    assert answer.backend == "trial" and answer.text == "trial"
    copied(gateway, 1, "yielded")
    assert gateway.metric("hatchway_shadow_inflight") == 0


def test_on_a_device_copies_are_background_work(hatchway, backend):
    live, trial = backend(openai("live")), backend(hangs)
    config = tried(live, trial, devices={
        "gpu": {"class": "cuda", "max_inflight": 4, "shares": {"live": "75%", "background": "25%"}}})
    config["backends"][1]["device"] = "gpu"
    gateway = hatchway(**config)

    for number in range(3):
        assert ask(gateway, f"{number}").text == "live"

    copied(gateway, 2, "skipped")
    until(lambda: trial.requests)
    assert gateway.metric("hatchway_shadow_inflight", backend="trial") == 1
    assert gateway.metric("hatchway_device_inflight", device="gpu") == 0


def test_a_full_backend_gets_no_copy(hatchway, backend):
    live, trial = backend(openai("live")), backend(goes_on())
    config = tried(live, trial)
    config["backends"][1]["max_inflight"] = 1
    config["routes"].insert(0, {"name": "direct", "when": {"header": {"x-direct": "yes"}},
                                "to": {"backend": "trial"}})
    gateway = hatchway(**config)

    with Stream(gateway, "direct", headers=["x-direct: yes"]) as stream:
        stream.start().next_text()
        assert ask(gateway, "question").text == "live"
        assert copies(gateway, "skipped", backend="none") == 1
    assert len(trial.requests) == 1


def test_a_query_that_fails_over_is_copied_once(hatchway, backend):
    first, second, trial = backend(status(503)), backend(openai("second")), backend(openai("copy"))
    config = tried(first, trial, limits={"retry_percent": 100})
    config["backends"].insert(1, openai_backend("second", second))
    config["routes"][0]["fallback"] = {"backend": "second"}
    gateway = hatchway(**config)

    assert ask(gateway, "question").text == "second"

    copied(gateway, 1, "ok")


def test_the_drain_does_not_wait_for_copies(hatchway, backend):
    live, trial = backend(openai("an answer")), backend(hangs)
    gateway = hatchway(**tried(live, trial, drain="30s"))
    ask(gateway, "question")
    until(lambda: trial.requests)

    gateway.signal(signal.SIGTERM)

    assert gateway.wait_end(15) == 0
    until(lambda: trial.left, what="the backend sees it")


def test_a_worker_is_sent_a_copy(hatchway, backend):
    live = backend(openai("an answer"))
    gateway = hatchway(**{**tried(live, live), "backends": [
        openai_backend("live", live), bdh("trial", general=False)]})

    assert ask(gateway, "question", max_tokens=20).text == "an answer"

    copied(gateway, 1, "ok", backend="trial")


def test_whole_answers_and_other_models(hatchway, backend):
    """Who asks for a model by name has the copy go to whatever the shadow names."""
    live, trial = backend(openai("an answer")), backend(
        lambda reply: reply.whole(openai_whole("new", "x" * 1000)))
    config = tried(live, trial)
    config["backends"][1]["models"] = ["new-model"]
    gateway = hatchway(**config)

    assert ask(gateway, "question", model="small").text == "an answer"

    copied(gateway, 1, "ok")
    assert trial.requests[0].json()["model"] == "new-model"


def test_the_decision_log_names_it(hatchway, backend, tmp_path):
    live, trial = backend(openai("an answer")), backend(openai("another"))
    log = tmp_path / "decisions.jsonl"
    gateway = hatchway(**tried(live, trial, decisions={"file": str(log)}))

    ask(gateway, "question")

    until(lambda: log.exists() and '"shadow":"trial"' in log.read_text())


def test_explain_says_where_a_copy_would_go(hatchway, backend):
    live, trial = backend(openai("an answer")), backend(openai("another"))
    gateway = hatchway(**tried(live, trial, shadow={"share": "5%"}))

    told = run("route", "-c", gateway.file, "a query").stdout.decode()
    assert "shadow   trial gets a copy of 5 % of such queries" in told
    shadow = post(gateway, "/hatchway/explain", {"query": "a query"}).json()["shadow"]
    assert shadow["share"] == 0.05
    assert [candidate["backend"] for candidate in shadow["candidates"]] == ["trial"]
    assert shadow["excluded"][0]["backend"] == "live"


@pytest.mark.parametrize("shadow, told", [
    ({"share": "5%"}, "routes[0].shadow: the key 'to' is missing"),
    ({"to": {"backend": "tril"}}, "unknown backend 'tril'; did you mean 'trial'?"),
    ({"to": {"backend": "trial"}, "share": "120%"}, "expected a percentage such as 2%, got '120%'"),
    ({"to": {"backend": "trial"}, "shares": "1%"}, "did you mean 'share'?"),
    ({"to": {"backend": "live"}}, "only the backend that answers its queries"),
    ({"to": {"kind": "bdh"}}, "the shadow of route 'all' selects no backend")])
def test_check_says_what_is_wrong(tmp_path, shadow, told):
    config = {"backends": [
        {"name": "live", "kind": "openai", "url": "http://127.0.0.1:1", "models": ["a"],
         "general": True},
        {"name": "trial", "kind": "openai", "url": "http://127.0.0.1:2", "models": ["a"]}],
        "routes": [{"name": "all", "to": {"backend": "live"}, "shadow": shadow}]}
    file = tmp_path / "policy.yaml"
    file.write_text(json.dumps(config))

    done = run("check", file)

    assert told in (done.stdout + done.stderr).decode()
