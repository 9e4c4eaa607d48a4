"""All dialects that agents speak, by the names that cases know them by."""
import json

from agent import Dialect
from agent_anthropic import Anthropic
from agent_embeddings import Embed, Embeddings, OldEmbeddings
from agent_ollama import Generate, Ollama
from agent_openai import Completions, OpenAI
from agent_responses import Responses
from canon import Answer
from source import loads


class Bdh(Dialect):
    name, path = "bdh", "/api/bdh/ask"
    streams = False
    fields = {name: [name] for name in ("max_tokens", "temperature", "top_p", "top_k", "seed")}
    fields["unknown"] = ["frobnicate"]

    def build(self, case):
        body = {"question": case.turns[-1].text, "model": case.model}
        for feature, value in case.fields.items():
            body["frobnicate" if feature == "unknown" else feature] = value
        return body

    def read_whole(self, answer):
        body = loads(answer.body)
        assert set(body) == {"answer", "model", "device", "source"}, body
        return Answer(body["answer"])

    def error(self, answer):
        body = json.loads(answer.body)
        assert set(body) == {"error", "detail"}, body
        return body["error"]


DIALECTS = {one.name: one for one in (OpenAI(), Completions(), Responses(), Embeddings(), Ollama(),
                                      Generate(), Embed(), OldEmbeddings(), Anthropic(), Bdh())}
