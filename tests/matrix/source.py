"""JSON by its source text: a number stays as it is spelt, 0.10 is not 0.1 here."""
import json


class Num(str):
    """A number's source text."""

    def __repr__(self):
        return f"Num({str(self)})"


class Raw(str):
    """A value's JSON text, as it is to be sent."""


def _object(pairs):
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), f"a member given twice: {names}"
    return dict(pairs)


def loads(text):
    """Strict: what Hatchway sends has no member twice and no NaN."""
    def constant(word):
        raise AssertionError(f"{word} is no JSON")
    return json.loads(text, parse_float=Num, parse_int=Num, parse_constant=constant,
                      object_pairs_hook=_object)


def dumps(value, escaped=False):
    """escaped: everything beyond ASCII as \\uXXXX."""
    if isinstance(value, (Num, Raw)):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {dumps(v, escaped)}"
                               for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(dumps(item, escaped) for item in value) + "]"
    return json.dumps(value, ensure_ascii=escaped)


def number(value):
    """A count's value, however it is spelt."""
    return None if value is None else float(value)
