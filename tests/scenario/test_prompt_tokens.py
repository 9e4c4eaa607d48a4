"""What backends report of their prompts corrects the estimate that contexts are measured by."""
from harness.backend import ollama, openai, openai_whole
from harness.client import ask, get, post
from harness.policy import ollama as listed

PROMPT = "a sentence of words, " * 100  # 2,100 bytes: about 525 tokens


def counts(times):
    """An OpenAI-compatible server whose tokenizer makes so many times the estimate of a prompt."""
    def answer(reply):
        asked = reply.request.json()
        size = sum(len(message["content"]) for message in asked["messages"])
        tokens = round(times * size / 4)
        reply.whole(openai_whole(asked["model"], "yes", usage={
            "prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}))
    return answer


def fleet(backend, times):
    """A fast backend with a context of 1,000 tokens, and a last resort without a bound."""
    peer, last = backend(counts(times)), backend(openai("from the last"))
    return {"cache": {"keep": "none"}, "backends": [
        {"name": "short", "kind": "openai", "url": peer.url, "models": ["dense"], "general": True,
         "quality": 1, "context": 1000},
        {"name": "long", "kind": "openai", "url": last.url, "models": ["wide"], "general": True}]}


def explained(gateway, **more):
    return post(gateway, "/hatchway/explain", {"query": PROMPT, **more}).json()


def test_a_context_is_measured_by_what_the_backend_counts(hatchway, backend):
    gateway = hatchway(fleet(backend, 2))
    assert explained(gateway)["candidates"][0]["prompt_tokens"] == 525
    for _ in range(3):
        assert ask(gateway, PROMPT).backend == "short"  # 525 tokens, as far as anybody knows
    assert ask(gateway, PROMPT).backend == "long"       # 1,050: it does not fit
    assert ask(gateway, PROMPT[:1800]).backend == "short"

    said = explained(gateway)
    assert said["prompt_tokens"] == 525 and said["candidates"][0]["prompt_tokens"] == 525
    assert said["excluded"] == [{
        "backend": "short", "why": "context",
        "detail": "the prompt has about 1050 tokens there; its context is 1000"}]
    # Somebody who says how many there are is believed.
    assert explained(gateway, tokens=900)["candidates"][0]["prompt_tokens"] == 900

    backends = {each["name"]: each for each in get(gateway, "/hatchway/backends").json()["backends"]}
    assert backends["short"]["prompt_tokens_ratio"] == {"dense": 2.0}
    assert "prompt_tokens_ratio" not in backends["long"]
    assert gateway.metric("hatchway_prompt_tokens_ratio", backend="short", model="dense") == 2


def test_routes_see_the_size_that_the_model_asked_for_counts(hatchway, backend):
    config = fleet(backend, 2)
    config["backends"][0]["context"] = 0
    config["aliases"] = {"packed": "dense"}
    config["routes"] = [{"name": "large", "when": {"prompt_tokens": ">1000"}}, {"name": "small"}]
    gateway = hatchway(config)
    for _ in range(3):
        assert ask(gateway, PROMPT, "dense").headers["x-hatchway-route"] == "small"
    assert ask(gateway, PROMPT, "packed").headers["x-hatchway-route"] == "large"
    assert ask(gateway, PROMPT, "wide").headers["x-hatchway-route"] == "small"
    assert ask(gateway, PROMPT).headers["x-hatchway-route"] == "small"  # whose tokens?
    said = explained(gateway, model="dense")
    assert (said["prompt_tokens"], said["route"]) == (1050, "large")
    counted = post(gateway, "/v1/messages/count_tokens", {
        "model": "dense", "messages": [{"role": "user", "content": PROMPT}]}).json()
    assert counted == {"input_tokens": 1050}


def test_reports_that_say_nothing_change_nothing(hatchway, backend):
    peer = backend(ollama("yes"))  # it always reports 11: of a long prompt, what was not cached
    gateway = hatchway(cache={"keep": "none"},
                       backends=[listed("one", peer, general=True, context=1000)])
    for _ in range(4):
        assert ask(gateway, PROMPT).status == 200
    assert "prompt_tokens_ratio" not in get(gateway, "/hatchway/backends").json()["backends"][0]
