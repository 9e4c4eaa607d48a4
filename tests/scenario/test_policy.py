"""The policy at work: conditions, choosing, probing, editing, explaining."""
import json
import re
import time

from harness.backend import bdh_node, openai, status
from harness.client import ask, get, post
from harness.gateway import ROOT, run
from harness.policy import bdh, in_order, ollama as ollama_backend, openai as openai_backend
from harness.wait import until


def named(hatchway, backend, routes, **config):
    """Backends that answer with their own names, and routes to them."""
    names = sorted({name for route in routes for name in [route["to"]["backend"]]})
    return hatchway(backends=[openai_backend(name, backend(openai(name))) for name in names],
                    routes=routes, cache={"keep": "none"}, **config)


def test_conditions_that_nest(hatchway, backend):
    gateway = named(hatchway, backend, [
        {"name": "desk", "when": {"any": [{"header": {"x-team": "desk"}},
                                          {"regex": r"\b[A-Z]{3}-\d+\b", "not": {"stream": True}}]},
         "to": {"backend": "one"}},
        {"name": "rest", "when": {"path": "/v1/*", "hours": "00-24"}, "to": {"backend": "two"}}])

    assert ask(gateway, "hello").text == "two"
    assert ask(gateway, "see ABC-12").text == "one"
    assert ask(gateway, "see ABC-12", stream=True).text == "two"
    assert ask(gateway, "hello", headers={"X-Team": "desk"}).text == "one"
    assert post(gateway, "/api/bdh/ask", {"question": "hello"}).status == 404


def conversation(gateway, first, turns):
    """Backends that answered, turn by turn."""
    messages, found = [{"role": "user", "content": first}], []
    for turn in range(turns):
        answer = post(gateway, "/v1/chat/completions", {"model": "auto", "messages": messages})
        found.append(answer.backend)
        messages += [{"role": "assistant", "content": answer.text},
                     {"role": "user", "content": f"and then? {turn}"}]
    return found


def test_a_conversation_stays_where_it_began(hatchway, backend):
    gateway = hatchway(backends=[openai_backend(name, backend(openai(name))) for name in "abc"],
                       routes=[{"name": "all", "to": {"by": "affinity"}}], cache={"keep": "none"})

    homes = [conversation(gateway, f"question {i}", 4) for i in range(20)]

    assert all(len(set(each)) == 1 for each in homes)
    assert {each[0] for each in homes} == set("abc")


def test_a_canary_gets_its_share(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("old", backend(openai("old")), weight=90),
                                 openai_backend("new", backend(openai("new")), weight=10)],
                       routes=[{"name": "all", "to": {"by": "weighted"}}], cache={"keep": "none"})

    canary = sum(ask(gateway, f"question {i}").text == "new" for i in range(300))

    assert 10 <= canary <= 55


# --- health --------------------------------------------------------------------------------------

FAST_PROBES = {"interval": "100ms", "timeout": "1s", "failures": 2}


def shown(gateway, name):
    return {b["name"]: b for b in get(gateway, "/hatchway/backends").json()["backends"]}[name]


def test_probes_by_kind_are_no_load(hatchway, backend):
    peers = {kind: backend(status(500)) for kind in ("openai", "ollama", "bdh")}
    gateway = hatchway(backends=[
        openai_backend("openai", peers["openai"], api_key="${KEY}"),
        ollama_backend("ollama", peers["ollama"], general=True),
        {"name": "bdh", "kind": "bdh", "url": peers["bdh"].url, "general": True},
        openai_backend("quiet", backend(openai("never asked")), probe=False)],
        probes=FAST_PROBES, discover={"interval": 0}, env={"KEY": "sk-probe"})

    until(lambda: all(len(peer.probes) >= 3 for peer in peers.values()))

    assert {kind: set(peer.probes) for kind, peer in peers.items()} == {
        "openai": {"/v1/models"}, "ollama": {"/api/version"}, "bdh": {"/"}}
    assert not any(peer.requests for peer in peers.values())
    assert gateway.metric("hatchway_attempts_total") == 0
    assert gateway.metric("hatchway_backend_inflight") == 0
    assert gateway.metric("hatchway_probes_total", backend="openai", result="ok") >= 3
    assert gateway.metric("hatchway_probes_total", backend="quiet") == 0


def test_a_sick_backend_is_out_until_its_probe_is_well(hatchway, backend):
    one, two = backend(openai("one")), backend(openai("two"))
    gateway = hatchway(backends=[openai_backend("one", one, priority=0),
                                 openai_backend("two", two, priority=1)],
                       routes=in_order("one", "two"), cache={"keep": "none"}, probes=FAST_PROBES,
                       breaker={"slow_start": 0})
    assert ask(gateway, "hello").text == "one"

    one.probe_status = 503
    until(lambda: not shown(gateway, "one")["up"])
    assert shown(gateway, "one")["out"] == "probe" and "503" in shown(gateway, "one")["why"]
    assert gateway.metric("hatchway_backend_up", backend="one") == 0
    assert gateway.metric("hatchway_backend_out", backend="one", reason="probe") == 1
    asked = len(one.requests)
    assert ask(gateway, "hello").text == "two"
    assert len(one.requests) == asked  # nobody waits for it

    one.probe_status = 200
    until(lambda: shown(gateway, "one")["up"])
    assert "out" not in shown(gateway, "one")
    assert ask(gateway, "hello").text == "one"
    assert "one is out" in gateway.log() and "one is back" in gateway.log()


def test_a_dead_node_is_out_and_its_fallback_answers(hatchway, backend):
    node = backend(bdh_node("from the node"))
    gateway = hatchway(backends=[{"name": "node", "kind": "bdh", "url": node.url, "device": "mps"},
                                 bdh("emergency", general=False)],
                       routes=[{"name": "all", "to": {"backend": "node"},
                                "fallback": {"backend": "emergency"}}],
                       cache={"keep": "none"}, probes=FAST_PROBES)
    assert ask(gateway, "hello").backend == "node"

    node.kill()
    until(lambda: shown(gateway, "node").get("out") == "probe")
    attempts = gateway.metric("hatchway_attempts_total", backend="node")

    assert ask(gateway, "hello", max_tokens=3).backend == "emergency"
    assert gateway.metric("hatchway_attempts_total", backend="node") == attempts


# --- editing -------------------------------------------------------------------------------------

def one_of(names, to):
    return {"listen": "127.0.0.1:1", "loops": 2, "cache": {"keep": "none"}, "backends": names,
            "routes": [{"name": "all", "to": {"backend": to}}]}


def test_a_saved_file_is_live_however_the_editor_saves_it(hatchway, backend):
    peers = [openai_backend(name, backend(openai(name))) for name in ("one", "two")]
    gateway = hatchway(**{k: v for k, v in one_of(peers, "one").items() if k != "listen"})
    listen = f"127.0.0.1:{gateway.port}"
    text = {name: json.dumps({**one_of(peers, name), "listen": listen}) for name in ("one", "two")}
    assert ask(gateway, "hello").text == "one"

    gateway.file.write_text(text["two"])                    # in place
    until(lambda: ask(gateway, "hello").text == "two", 5)
    gateway.file.rename(gateway.file.with_suffix(".bak"))   # moved away, then written anew
    gateway.file.write_text(text["one"])
    until(lambda: ask(gateway, "hello").text == "one", 5)
    swap = gateway.file.with_suffix(".swp")                 # put in its place
    swap.write_text(text["two"])
    swap.rename(gateway.file)
    until(lambda: ask(gateway, "hello").text == "two", 5)
    assert gateway.metric("hatchway_config_reloads_total", result="ok") == 3
    (gateway.folder / "other.yaml").write_text("nobody minds")
    gateway.file.write_text("backends: nonsense")
    until(lambda: gateway.metric("hatchway_config_reloads_total", result="failed") == 1, 5)
    assert ask(gateway, "hello").text == "two"
    assert f"{gateway.file}:1:11" in gateway.log()
    assert gateway.metric("hatchway_config_reloads_total", result="ok") == 3


def test_many_changes_are_one_reload_and_none_is_read_twice(hatchway, backend):
    peers = [openai_backend(name, backend(openai(name))) for name in ("one", "two")]
    config = {k: v for k, v in one_of(peers, "one").items() if k != "listen"}
    gateway = hatchway(**config)

    for _ in range(10):
        gateway.write(config)
        time.sleep(0.02)
    until(lambda: gateway.metric("hatchway_config_reloads_total", result="ok") >= 1, 5)
    time.sleep(0.5)
    assert gateway.metric("hatchway_config_reloads_total", result="ok") == 1
    gateway.write(config)
    assert post(gateway, "/hatchway/reload", "").status == 200
    time.sleep(0.5)
    assert gateway.metric("hatchway_config_reloads_total", result="ok") == 2


# --- explaining ----------------------------------------------------------------------------------

def test_explain_with_live_figures(hatchway, backend):
    one, two = backend(openai("one")), backend(openai("two"))
    one.probe_status = 503
    gateway = hatchway(
        wait=False, backends=[openai_backend("one", one), openai_backend("two", two)],
        roles={"trading": {"keywords": ["market"]}}, probes=FAST_PROBES,
        routes=[{"name": "night", "when": {"lane": "background"}, "to": {"kind": "bdh"}},
                {"name": "traders", "when": {"role": "trading"}, "to": {"by": "latency"}}])
    until(lambda: shown_or_none(gateway, "one") == "probe", 20)

    told = post(gateway, "/hatchway/explain", {"query": "how is the market?"}).json()

    assert told["role"] == "trading" and told["matched_keyword"] == "market"
    assert told["route"] == "traders" and told["by"] == "latency"
    assert told["routes_passed_over"] == [
        {"route": "night", "why": "lane is interactive, wants background"}]
    assert [c["backend"] for c in told["candidates"]] == ["two"]
    first = told["candidates"][0]
    parts = sum(first[part] for part in ("queue_ms", "start_ms", "prefill_ms", "decode_ms"))
    assert abs(parts - first["expected_ms"]) < 1e-6 * parts
    assert told["excluded"][0]["why"] == "down" and "503" in told["excluded"][0]["health"]
    assert not two.requests
    nobody = post(gateway, "/hatchway/explain", {"query": "hello"}).json()
    assert nobody["route"] is None and nobody["candidates"] == []
    for wrong in {}, {"query": 1}, {"query": "x", "lane": "fast"}, {"query": "x", "model": "gpt"}, []:
        answer = post(gateway, "/hatchway/explain", wrong)
        assert answer.status == 400 and answer.json()["error"], wrong


def shown_or_none(gateway, name):
    try:
        return shown(gateway, name).get("out")
    except OSError:
        return None


# --- the cookbook --------------------------------------------------------------------------------

def test_every_recipe_of_the_cookbook_is_sound(tmp_path):
    base, *recipes = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/policy.md").read_text(), re.S)
    assert len(recipes) >= 7
    for recipe in recipes:
        (tmp_path / "p.yaml").write_text(recipe if "backends:" in recipe else base + recipe)
        done = run("check", tmp_path / "p.yaml")
        assert done.returncode == 0 and not done.stderr, (recipe, done.stderr)
