"""Agents that want vectors: OpenAI's /v1/embeddings, Ollama's /api/embed and /api/embeddings.

A vector is numbers by their source text, or, where it came as base64, the floats themselves."""
import base64
import struct

from agent import Dialect
from agent_ollama import Ollama
from agent_openai import OpenAI
from canon import Answer
from source import loads, number


def float32(value):
    return struct.unpack("<f", struct.pack("<f", float(value)))[0]


def vector_of(said):
    if not isinstance(said, str):
        return said
    raw = base64.b64decode(said, validate=True)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


class Embeddings(Dialect):
    name, path = "embeddings", "/v1/embeddings"
    streams, embeds = False, True
    answers = {"vectors", "usage"}
    fields = {"texts": [], "tokens": [], "dimensions": ["dimensions"], "base64": [],
              "unknown": ["frobnicate"]}

    def build(self, case):
        body = {"model": case.model, "input": case.turns[-1].text}
        for feature, value in case.fields.items():
            if feature == "texts":
                body["input"] = [body["input"], *value]
            elif feature == "tokens":
                body["input"] = value
            elif feature == "base64":
                body["encoding_format"] = "base64"
            else:
                body["frobnicate" if feature == "unknown" else feature] = value
        return body

    def read_whole(self, answer):
        body = loads(answer.body)
        assert body["object"] == "list" and body["model"]
        data = sorted(body["data"], key=lambda each: number(each["index"]))
        assert all(each["object"] == "embedding" for each in data)
        assert [number(each["index"]) for each in data] == list(range(len(data)))
        usage = body.get("usage")
        if usage:
            assert usage["prompt_tokens"] == usage["total_tokens"]
            usage = number(usage["prompt_tokens"]), 0
        return Answer(vectors=[vector_of(each["embedding"]) for each in data], usage=usage)

    error = OpenAI.error


class Embed(Dialect):
    name, path = "embed", "/api/embed"
    streams, embeds = False, True
    answers = {"vectors", "usage"}
    fields = {"texts": [], "dimensions": ["dimensions"], "truncate": ["truncate"],
              "keep_alive": ["keep_alive"], "num_ctx": ["options", "options.num_ctx"],
              "unknown": ["frobnicate"]}
    text_name = "input"

    def build(self, case):
        body = {"model": case.model, self.text_name: case.turns[-1].text}
        for feature, value in case.fields.items():
            if feature == "texts":
                body["input"] = [body["input"], *value]
            elif feature == "num_ctx":
                body["options"] = {"num_ctx": value}
            else:
                body["frobnicate" if feature == "unknown" else feature] = value
        return body

    def read_whole(self, answer):
        body = loads(answer.body)
        count = body.get("prompt_eval_count")
        return Answer(vectors=body["embeddings"],
                      usage=None if count is None else (number(count), 0))

    error = Ollama.error


class OldEmbeddings(Embed):
    name, path = "old_embeddings", "/api/embeddings"
    answers = {"vectors"}
    fields = {name: Embed.fields[name] for name in ("keep_alive", "num_ctx", "unknown")}
    text_name = "prompt"

    def read_whole(self, answer):
        return Answer(vectors=[loads(answer.body)["embedding"]])
