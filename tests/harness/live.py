"""A real Ollama to test against: HATCHWAY_TEST_OLLAMA is its URL, HATCHWAY_TEST_OLLAMA_MODEL the model
to ask, or else the smallest that it has."""
import functools
import json
import os
import urllib.request

URL, MODEL = "HATCHWAY_TEST_OLLAMA", "HATCHWAY_TEST_OLLAMA_MODEL"
ANSWER_SECONDS = 300  # of a model that has to be loaded first


class Live:
    """model speaks, embedder gives vectors; perhaps they are the same."""

    def __init__(self, url, models, wanted=None):
        self.url = url.rstrip("/")
        smallest = sorted(models, key=lambda each: each.get("size", 0))
        embedders = [each["name"] for each in smallest if embeds_only(each)]
        speakers = [each["name"] for each in smallest if not embeds_only(each)]
        names = [each["name"] for each in smallest]
        if wanted and wanted not in names and f"{wanted}:latest" in names:
            wanted = f"{wanted}:latest"
        if wanted and wanted not in names:
            raise AssertionError(f"{MODEL}: {url} has no {wanted}; it has {', '.join(names)}")
        if not wanted and not speakers:
            raise AssertionError(f"{URL}: {url} has no model that speaks: ollama pull one")
        self.model = wanted or speakers[0]
        self.embedder = embedders[0] if embedders else self.model

    def backend(self, name="live"):
        """For the `backends` of a configuration that says `egress: any`."""
        seconds = f"{ANSWER_SECONDS}s"
        return {"name": name, "kind": "ollama", "url": self.url, "general": True,
                "models": list(dict.fromkeys([self.model, self.embedder])),
                "timeouts": {"first_byte": seconds, "idle": seconds, "total": seconds}}


def embeds_only(model):
    details = model.get("details") or {}
    return "bert" in details.get("family", "") or "embed" in model["name"]


def tags(url):
    with urllib.request.urlopen(f"{url.rstrip('/')}/api/tags", timeout=10) as answer:
        return json.load(answer)["models"]


def why_not():
    """None when there is one."""
    return None if os.environ.get(URL) else f"{URL} is not set: no real Ollama to test against"


@functools.cache
def find():
    """Fails when the one that is named does not answer: a test that was asked for is not skipped."""
    url = os.environ[URL]
    return Live(url, tags(url), os.environ.get(MODEL))
