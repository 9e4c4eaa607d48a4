"""Embeddings: either dialect, whichever backend answers."""
import base64
import struct

import pytest

from harness.backend import status
from harness.client import post
from harness.policy import bdh, ollama, openai, ordered

VECTORS = [[0.5, -2.0], [0.25, 3.0]]


def texts_of(body):
    given = body.get("input", body.get("prompt"))
    return given if isinstance(given, list) else [given]


def embeds_openai(reply):
    body = reply.request.json()
    assert reply.request.path == "/v1/embeddings"
    data = [{"object": "embedding", "index": i, "embedding": VECTORS[i]}
            for i in range(len(texts_of(body)))]
    reply.whole({"object": "list", "data": data, "model": body["model"], "extra": 1.50,
                 "usage": {"prompt_tokens": 4, "total_tokens": 4}})


def embeds_ollama(reply):
    body = reply.request.json()
    if reply.request.path == "/api/embeddings":
        reply.whole({"embedding": VECTORS[0]})
        return
    assert reply.request.path == "/api/embed"
    reply.whole({"model": body["model"], "embeddings": VECTORS[:len(texts_of(body))],
                 "prompt_eval_count": 4, "total_duration": 1})


@pytest.fixture(params=["openai", "ollama"])
def asked(hatchway, backend, request):
    """(gateway, peer, kind) for a backend of each kind."""
    kind = request.param
    peer = backend(embeds_openai if kind == "openai" else embeds_ollama)
    config = openai("peer", peer) if kind == "openai" else ollama("peer", peer, general=True,
                                                                  models=["small"])
    return hatchway(backends=[config]), peer, kind


def test_openai_asks(asked):
    gateway, peer, kind = asked
    answer = post(gateway, "/v1/embeddings", {"model": "small", "input": ["gold", "tin"]})
    assert answer.status == 200, answer
    assert [each["embedding"] for each in answer.json()["data"]] == VECTORS
    assert answer.json()["usage"]["prompt_tokens"] == 4
    assert peer.requests[0].path == ("/v1/embeddings" if kind == "openai" else "/api/embed")
    if kind == "openai":  # as it came
        assert b'"extra": 1.5' in answer.body


def test_base64(asked):
    gateway, _, kind = asked
    body = {"model": "small", "input": "gold", "encoding_format": "base64"}
    answer = post(gateway, "/v1/embeddings", body)
    data = answer.json()["data"][0]["embedding"]
    if kind == "ollama":  # an openai backend's own words are not touched
        assert list(struct.unpack("<2f", base64.b64decode(data))) == VECTORS[0]


def test_ollama_asks(asked):
    gateway, peer, kind = asked
    answer = post(gateway, "/api/embed", {"model": "small", "input": ["gold", "tin"]})
    assert answer.json()["embeddings"] == VECTORS
    assert answer.json()["prompt_eval_count"] == 4
    answer = post(gateway, "/api/embeddings", {"model": "small", "prompt": "gold"})
    assert answer.json() == {"embedding": VECTORS[0]}
    assert [each.path for each in peer.requests] == (
        ["/v1/embeddings"] * 2 if kind == "openai" else ["/api/embed", "/api/embeddings"])


def test_the_same_twice_is_asked_once(asked):
    gateway, peer, _ = asked
    body = {"model": "small", "input": "gold"}
    first = post(gateway, "/v1/embeddings", body)
    second = post(gateway, "/v1/embeddings", body)
    assert (first.cache, second.cache) == ("miss", "hit")
    assert first.json()["data"] == second.json()["data"]
    assert len(peer.requests) == 1


def test_a_bdh_model_has_none(hatchway):
    gateway = hatchway(backends=[bdh()])
    answer = post(gateway, "/v1/embeddings", {"model": "auto", "input": "gold"})
    assert answer.status == 400 and "gives embeddings" in answer.error
    answer = post(gateway, "/api/embed", {"model": "bdh", "input": "gold"})
    assert answer.status == 400 and "gives embeddings" in answer.json()["error"]
    explained = post(gateway, "/hatchway/explain", {"query": "gold", "path": "/v1/embeddings"})
    assert explained.json()["excluded"] == [{"backend": "hatchling", "why": "no embeddings"}]


def test_a_bdh_model_is_passed_over(hatchway, backend):
    peer = backend(embeds_openai)
    gateway = hatchway(backends=[bdh(), openai("peer", peer)])
    answer = post(gateway, "/v1/embeddings", {"model": "auto", "input": "gold"})
    assert answer.status == 200 and answer.backend == "peer"


def test_the_next_one_answers(hatchway, backend):
    first, second = backend(status(503)), backend(embeds_ollama)
    gateway = hatchway(**ordered(openai("first", first),
                                 ollama("second", second, general=True, models=["small"])))
    answer = post(gateway, "/v1/embeddings", {"model": "auto", "input": "gold"})
    assert answer.status == 200 and answer.backend == "second"
    assert answer.json()["data"][0]["embedding"] == VECTORS[0]


def test_what_is_lost_is_named(asked):
    gateway, peer, kind = asked
    body = {"model": "small", "input": "gold", "input_type": "query"}
    answer = post(gateway, "/v1/embeddings", body)
    strict = post(gateway, "/v1/embeddings", body, {"x-hatchway-strict": "1"})
    if kind == "openai":
        assert "x-hatchway-dropped" not in answer.headers and strict.status == 200
        assert peer.requests[0].json()["input_type"] == "query"
    else:
        assert answer.headers["x-hatchway-dropped"] == "input_type"
        assert strict.status == 400 and "input_type" in strict.error


def test_too_few_vectors_are_a_failure(hatchway, backend):
    def one_of_two(reply):
        reply.whole({"model": "small", "embeddings": VECTORS[:1]})

    gateway = hatchway(backends=[ollama("peer", backend(one_of_two), models=["small"],
                                        general=True)])
    answer = post(gateway, "/v1/embeddings", {"model": "small", "input": ["gold", "tin"]})
    assert answer.status == 502 and "1 embeddings for 2 inputs" in answer.error


def test_mistakes_are_said_in_the_askers_dialect(asked):
    gateway, _, _ = asked
    assert "must not be empty" in post(gateway, "/v1/embeddings",
                                       {"model": "small", "input": []}).error
    assert "array of strings" in post(gateway, "/api/embed",
                                      {"model": "small", "input": [1]}).json()["error"]
    # Without an input Ollama only loads the model.
    assert post(gateway, "/api/embed", {"model": "small"}).json()["embeddings"] == []
