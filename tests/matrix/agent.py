"""What an agent of any dialect is: how it spells a query, and what its answers say.

A dialect builds a body from a Case, names what may be told as dropped of each feature, and reads
whole and streamed answers, checking their form: one terminal event, at the end."""
from source import dumps, number

FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool", "content_filter": "filter"}
SAMPLING = ["temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty",
            "frequency_penalty"]


def sse_blocks(body):
    """[(event name or None, data)]; comments and keep-alives are left out."""
    text = body.decode().replace("\r\n", "\n").replace("\r", "\n")
    assert text.endswith("\n\n"), text[-200:]
    found = []
    for block in text.split("\n\n")[:-1]:
        name, data = None, []
        for line in block.split("\n"):
            key, _, value = line.partition(":")
            if key == "event":
                name = value.strip()
            elif key == "data":
                data.append(value.removeprefix(" "))
        if data:
            found.append((name, "\n".join(data)))
    return found


class Dialect:
    name = path = None
    fields = {}     # feature -> its names in x-hatchway-dropped
    has_turns = False
    answers = {"text"}  # what an answer of the dialect has a place for
    streams = True
    embeds = False  # its answers are vectors

    def build(self, case):
        raise NotImplementedError

    def read(self, case, answer):
        return self.read_stream(answer) if case.stream and self.streams else self.read_whole(answer)

    def body(self, case):
        return dumps(self.build(case), case.escaped)


def openai_tool(tool):
    return {"type": "function", "function": tool}


def openai_usage(usage):
    if usage is None:
        return None
    counts = number(usage["prompt_tokens"]), number(usage["completion_tokens"])
    assert sum(counts) == number(usage["total_tokens"])
    return counts


def add_part(body, part):
    """To the last message's content."""
    last = body["messages"][-1]
    if not isinstance(last["content"], list):
        last["content"] = [{"type": "text", "text": last["content"]}]
    last["content"].append(part)
