"""What a query and an answer are, whoever spells them: the two sides of every comparison."""
from dataclasses import dataclass, field


@dataclass
class Call:
    id: str
    name: str
    arguments: object  # parsed, numbers by their source text


@dataclass
class Turn:
    role: str  # system, user, assistant, tool
    text: str = ""
    images: list = field(default_factory=list)  # base64
    calls: list = field(default_factory=list)
    result_of: int = None  # a tool's answer: the how-manieth call of the conversation it answers
    result_id: str = None


@dataclass
class Answer:
    text: str = ""
    reasoning: str = ""
    calls: list = field(default_factory=list)
    finish: str = "stop"  # stop, length, tool, filter
    usage: tuple = None   # prompt tokens, output tokens
    logprobs: list = None
    vectors: list = None


@dataclass
class Case:
    id: str
    dialect: str
    protocol: str
    stream: bool
    turns: list
    fields: dict  # feature -> value
    answer: Answer
    style: int    # how the backend frames its answer: speech.py
    escaped: bool = False
    usage_asked: bool = False
    route: str = None

    @property
    def model(self):
        """An alias, so that the name has to be edited on its way."""
        return f"ask-{self.route or self.protocol}"


def number_results(turns):
    """Which call each tool's answer belongs to, by the ids that stand on both."""
    ids = []
    for turn in turns:
        ids += [call.id for call in turn.calls]
        if turn.role == "tool" and turn.result_id is not None and turn.result_id in ids:
            turn.result_of = len(ids) - 1 - ids[::-1].index(turn.result_id)
    return turns
