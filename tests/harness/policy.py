"""Pieces of configurations that many scenarios share."""
from harness.gateway import TINY_MODEL


def bdh(name="hatchling", model=TINY_MODEL, **more):
    """A local worker."""
    return {"name": name, "kind": "bdh", "model": model, "general": True, **more}


def openai(name, peer, **more):
    return {"name": name, "kind": "openai", "url": peer.url, "models": ["small"], "general": True,
            **more}


def ollama(name, peer, **more):
    return {"name": name, "kind": "ollama", "url": peer.url, "models": ["llama3.1:8b"], **more}


def in_order(*names):
    """A route that tries these backends one after the other."""
    return [{"name": "ordered", "to": {"backend": list(names), "by": "priority"}}]


def ordered(*backends):
    """Backends with a route that prefers them in this order."""
    return {"backends": [{**backend, "priority": i} for i, backend in enumerate(backends)],
            "routes": in_order(*(backend["name"] for backend in backends))}


def without_cache(config):
    return {**config, "cache": {"keep": "none"}}
