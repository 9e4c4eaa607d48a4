"""The policy at work: conditions, choosing, probing, editing, explaining."""
from harness.backend import bdh_node, openai, status
from harness.client import ask, get, post
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
        probes=FAST_PROBES, env={"KEY": "sk-probe"})

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
                       routes=in_order("one", "two"), cache={"keep": "none"}, probes=FAST_PROBES)
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
