"""Backends' models are found, shown, and used to route by."""
import json
import socket

from harness.backend import ollama, openai
from harness.client import ask, get, post
from harness.policy import ollama as listed
from harness.wait import until


def tags(*models):
    """Each a name, or (name, digest)."""
    pairs = [model if isinstance(model, tuple) else (model, "") for model in models]
    return {"models": [{"name": name, "model": name, "digest": digest, "size": 5_000_000_000,
                        "modified_at": "2026-01-02T03:04:05Z",
                        "details": {"family": "llama", "parameter_size": "8.0B", "format": "gguf",
                                    "quantization_level": "Q4_K_M"}} for name, digest in pairs]}


def ps(*names):
    return {"models": [{"name": name, "expires_at": "2026-01-02T04:00:00Z", "size_vram": 7,
                        "context_length": 8192} for name in names]}


def has(peer, *models, loaded=()):
    peer.lists = {"/api/tags": tags(*models), "/api/ps": ps(*loaded)}
    return peer


def found(name, peer, **more):
    return {"name": name, "kind": "ollama", "url": peer.url, "device": "cuda", **more}


def wait_for(gateway, count, **labels):
    until(lambda: gateway.metric("hatchway_backend_models", state="found", **labels) == count,
          what=f"{count} models found")


def says(text):
    return ollama(text)


def test_a_query_goes_to_those_that_have_its_model(hatchway, backend):
    first = has(backend(says("first")), "llama3.1:8b")
    second = has(backend(says("second")), "qwen2.5:14b", "mistral:latest")
    gateway = hatchway(backends=[found("first", first), found("second", second)])
    wait_for(gateway, 3)

    answer = ask(gateway, "hello", "Qwen2.5:14B")
    assert (answer.text, answer.backend) == ("second", "second")
    assert second.requests[0].json()["model"] == "qwen2.5:14b"  # in its own words
    assert answer.json()["model"] == "qwen2.5:14b"
    assert ask(gateway, "hello", "mistral").backend == "second"
    assert ask(gateway, "hello", "llama3.1:8b").backend == "first"
    assert len(first.requests) == 1


def test_an_unknown_model_gets_the_nearest_names(hatchway, backend):
    gateway = hatchway(backends=[found("one", has(backend(says("x")), "llama3.1:8b",
                                                  "llama3.1:70b", "qwen2.5:14b"))])
    wait_for(gateway, 3)
    answer = ask(gateway, "hello", "llama3.1:7b")
    assert answer.status == 404
    assert "llama3.1:8b" in answer.error and "llama3.1:70b" in answer.error
    assert "qwen" not in answer.error
    # Ollama's rule: no tag is :latest, and nobody has that.
    assert ask(gateway, "hello", "llama3.1").status == 404
    assert "llama3.1" in post(gateway, "/api/show", {"model": "llama3.1"}).json()["error"]


def test_what_is_loaded_beats_what_must_be_loaded(hatchway, backend):
    cold = has(backend(says("cold")), "llama3.1:8b")
    warm = has(backend(says("warm")), "llama3.1:8b", loaded=["llama3.1:8b"])
    gateway = hatchway(backends=[found("cold", cold), found("warm", warm)])
    wait_for(gateway, 2)
    assert ask(gateway, "hello", "llama3.1:8b").text == "warm"
    explained = post(gateway, "/hatchway/explain", {"query": "x", "model": "llama3.1:8b"}).json()
    assert [(each["backend"], each["load_ms"]) for each in explained["candidates"]] == \
        [("warm", 0), ("cold", 6000)]


def test_what_is_loaded_counts_for_listed_models_too(hatchway, backend):
    cold, warm = backend(says("cold")), backend(says("warm"))
    has(cold, "llama3.1:8b", "hidden:1b")
    has(warm, "llama3.1:8b", loaded=["llama3.1:8b"])
    gateway = hatchway(backends=[listed("cold", cold), listed("warm", warm)])
    wait_for(gateway, 3)
    assert ask(gateway, "hello", "llama3.1:8b").text == "warm"
    # What is written down stands: nothing beside it can be asked for.
    assert ask(gateway, "hello", "hidden:1b").status == 404


def test_lists_show_where_models_live(hatchway, backend):
    one = has(backend(says("one")), ("llama3.1:8b", "d1"), loaded=["llama3.1:8b"])
    two = has(backend(says("two")), ("Llama3.1:8B", "d1"), ("llama3.1:latest", "d1"))
    gateway = hatchway(backends=[found("one", one), found("two", two)])
    wait_for(gateway, 3)

    models = {each["id"]: each for each in get(gateway, "/v1/models").json()["data"]}
    assert models["llama3.1:8b"]["backends"] == ["one", "two"]
    assert models["llama3.1:latest"]["backends"] == ["two"] and "Llama3.1:8B" not in models
    listed_tags = {each["name"]: each for each in get(gateway, "/api/tags").json()["models"]}
    llama = listed_tags["llama3.1:8b"]
    assert llama["backends"] == ["one", "two"] and llama["digest"] == "d1"
    assert llama["size"] == 5_000_000_000 and llama["details"]["quantization_level"] == "Q4_K_M"
    running = get(gateway, "/api/ps").json()["models"]
    assert [(each["name"], each["size_vram"]) for each in running] == [("llama3.1:8b", 7)]
    assert get(gateway, "/v1/models/llama3.1").json()["id"] == "llama3.1:latest"
    # One digest is one model: whoever has it may answer, under its own name for it.
    assert ask(gateway, "a", "llama3.1").status == 200
    known = get(gateway, "/hatchway/backends").json()["backends"]
    assert known[0]["loaded"] == ["llama3.1:8b"] and known[1]["loaded"] == []


def test_an_openai_server_and_another_hatchway(hatchway, backend):
    peer = backend(openai("from vllm"))
    peer.lists = {"/v1/models": {"object": "list", "data": [{"id": "big", "object": "model"}]}}
    inner = hatchway(backends=[{"name": "vllm", "kind": "openai", "url": peer.url}])
    wait_for(inner, 1)
    outer = hatchway(backends=[{"name": "inner", "kind": "openai", "url": inner.url}])
    wait_for(outer, 1)
    answer = ask(outer, "hello", "big")
    assert (answer.text, answer.backend) == ("from vllm", "inner")
    names = [each["id"] for each in get(outer, "/v1/models").json()["data"]]
    assert names.count("auto") == 1 and "big" in names


def test_what_changes_is_seen(hatchway, backend):
    peer = has(backend(says("x")), "old:1b")
    gateway = hatchway(backends=[found("one", peer)], discover={"interval": "100ms",
                                                                "timeout": "50ms"})
    wait_for(gateway, 1)
    assert ask(gateway, "hello", "old:1b").status == 200
    has(peer, "new:1b", "newer:1b")
    wait_for(gateway, 2)
    assert ask(gateway, "hello", "new:1b").status == 200
    assert ask(gateway, "hello", "old:1b").status == 404
    peer.lists = {"/api/tags": {"models": "none of your business"}}  # what was found stays
    until(lambda: gateway.metric("hatchway_discoveries_total", result="failed") > 0)
    assert ask(gateway, "hello", "new:1b").status == 200


def test_before_anybody_was_asked(hatchway, backend):
    """Not 404: it may well be there."""
    hung = socket.create_server(("127.0.0.1", 0))  # accepts, and says nothing
    peer = has(backend(says("x")), "a:1b")
    peer.port = hung.getsockname()[1]
    with hung:
        gateway = hatchway(backends=[found("one", peer, url=f"http://127.0.0.1:{peer.port}")],
                           discover={"timeout": "2s"}, probes={"interval": 0})
        early = ask(gateway, "hello", "a:1b")
        assert early.status == 503 and "being asked" in early.error
        assert early.headers["retry-after"]
        until(lambda: ask(gateway, "hello", "a:1b").status == 404, seconds=20)


def test_no_discovery_where_it_is_off(hatchway, backend):
    on, off = has(backend(says("on")), "a:1b"), has(backend(says("off")), "b:1b")
    gateway = hatchway(backends=[found("on", on), found("off", off, discover=False)])
    wait_for(gateway, 1)
    assert ask(gateway, "hello", "b:1b").status == 404
    assert "/api/tags" not in off.probes
    quiet = has(backend(says("x")), "c:1b")
    gateway = hatchway(backends=[found("quiet", quiet)], discover={"interval": 0})
    assert ask(gateway, "hello", "c:1b").status == 404 and "/api/tags" not in quiet.probes


def test_a_general_backend_is_asked_for_what_it_has(hatchway, backend):
    peer = has(backend(says("x")), "nomic-embed-text:latest", "a:1b", "b:1b", loaded=["b:1b"])
    gateway = hatchway(backends=[found("one", peer, general=True)],
                       aliases={"fast": "a:1b"})
    wait_for(gateway, 3)
    assert ask(gateway, "hello").json()["model"] == "b:1b"
    assert ask(gateway, "hello", "fast").json()["model"] == "a:1b"


def test_a_hostile_list_is_bounded(hatchway, backend):
    peer = backend(says("x"))
    peer.lists = {"/api/tags": tags(*[f"m{i}:1b" for i in range(3000)], "x" * 500)}
    gateway = hatchway(backends=[found("one", peer)])
    wait_for(gateway, 512)
    assert len(get(gateway, "/api/tags").json()["models"]) == 513  # and auto
    huge = backend(says("x"))
    huge.lists = {"/api/tags": {"models": [], "pad": "x" * (3 << 20)}}
    gateway = hatchway(backends=[found("one", huge)])
    until(lambda: gateway.metric("hatchway_discoveries_total", result="failed") == 1)
    assert json.loads(get(gateway, "/api/tags").body)["models"]
