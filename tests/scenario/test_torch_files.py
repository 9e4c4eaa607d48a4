"""PyTorch's .pt files: the layouts that are met in the wild, and files that lie or attack."""
import collections
import dataclasses
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest

from harness.gateway import VECTORS, run
from harness.torch_file import BDHConfig, Tensor, Writer

TINY = VECTORS / "tiny_s002"
H, D, N, V = 2, 4, 6, 11
CONFIG = dict(n_layer=2, n_embd=D, n_head=H, mlp_internal_dim_multiplier=3, vocab_size=V,
              dropout=0.1)


def arrays(seed=1):
    rng = np.random.default_rng(seed)
    shapes = {"decoder": (H * N, D), "encoder": (H, D, N), "encoder_v": (H, D, N),
              "lm_head": (D, V), "embed.weight": (V, D)}
    made = {name: rng.normal(0, 0.3, shape).astype("f4") for name, shape in shapes.items()}
    freqs = 65536.0 ** (-2 * (np.arange(N) // 2) / N) / (2 * np.pi)
    return made | {"attn.freqs": freqs.astype("f4").reshape(1, 1, 1, N)}


def state_dict(writer, values, **options):
    return collections.OrderedDict((name, writer.tensor(array, **options))
                                   for name, array in values.items())


def logits(path):
    done = run("bdh", "logits", path, stdin=bytes(range(V)))
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, "f4")


def refused(path, why):
    done = run("bdh", "inspect", path)
    assert done.returncode == 1
    assert why in done.stderr.decode()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.pt"


@pytest.fixture
def plain(tmp_path):
    """The logits of the plain layout."""
    writer = Writer()
    path = tmp_path / "plain.pt"
    writer.save(path, {"config": BDHConfig(**CONFIG),
                       "model_state_dict": state_dict(writer, arrays())})
    return logits(path)


def test_a_real_file_converts_to_what_safetensors_says(tmp_path):
    for dtype in ("f32", "bf16", "int8"):
        done = run("bdh", "convert", TINY / "model.pt", tmp_path / dtype, "--dtype", dtype)
        assert done.returncode == 0, done.stderr

    tokens = (TINY / "tokens.u16").read_bytes()
    asked = ["--tokens", "u16"]
    expected = run("bdh", "logits", TINY / "model.safetensors", *asked, stdin=tokens).stdout
    assert run("bdh", "logits", TINY / "model.pt", *asked, stdin=tokens).stdout == expected
    assert run("bdh", "logits", tmp_path / "f32", *asked, stdin=tokens).stdout == expected
    half = run("bdh", "logits", tmp_path / "bf16", *asked, stdin=tokens).stdout
    assert half != expected
    assert np.allclose(np.frombuffer(half, "f4"), np.frombuffer(expected, "f4"), atol=0.02)
    assert (tmp_path / "bf16").stat().st_size < 0.6 * (tmp_path / "f32").stat().st_size
    byte = run("bdh", "logits", tmp_path / "int8", *asked, stdin=tokens).stdout
    assert byte not in (expected, half)
    assert np.allclose(np.frombuffer(byte, "f4"), np.frombuffer(expected, "f4"), atol=0.05)
    assert (tmp_path / "int8").stat().st_size < 0.4 * (tmp_path / "f32").stat().st_size


def test_int8_is_what_the_docs_say(tmp_path):
    """value = scale * byte, and the scale's shape broadcasts: any reader of safetensors can use it."""
    for dtype in ("f32", "int8"):
        assert run("bdh", "convert", TINY / "model.safetensors", tmp_path / dtype,
                   "--dtype", dtype).returncode == 0

    def tensors(path):
        raw = path.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        head = json.loads(raw[8:8 + size])
        kinds = {"F32": "f4", "I8": "i1"}
        assert all(entry["data_offsets"][0] % np.dtype(kinds[entry["dtype"]]).itemsize == 0
                   for name, entry in head.items() if name != "__metadata__")
        return {name: np.frombuffer(raw[8 + size:][slice(*entry["data_offsets"])],
                                    kinds[entry["dtype"]]).reshape(entry["shape"])
                for name, entry in head.items() if name != "__metadata__"}
    whole, byte = tensors(tmp_path / "f32"), tensors(tmp_path / "int8")
    for name in set(whole) - {"attn.freqs"}:
        values = byte[name].astype("f4") * byte[name + ".scale"]
        assert values.shape == whole[name].shape
        off = np.square(values - whole[name]).sum() / np.square(whole[name]).sum()
        assert 0 < off < 2e-4, name
    assert np.array_equal(whole["attn.freqs"], byte["attn.freqs"])


def test_layouts(file, plain):
    def saved(make):
        writer = Writer()
        writer.save(file, make(writer))
        return logits(file)

    values = arrays()
    assert np.array_equal(plain, saved(lambda w: {"config": CONFIG,
                                                  "model": state_dict(w, values)}))
    compiled = {f"_orig_mod.{name}": array for name, array in values.items()}
    assert np.array_equal(plain, saved(lambda w: {
        "config": collections.OrderedDict(CONFIG), "model_state_dict": state_dict(w, compiled)}))
    older = {name.replace("attn.", "attns.0."): array for name, array in values.items()}
    assert np.array_equal(plain, saved(lambda w: {
        "step": 7, "loss": [1.5, 2.5, None, True], "big": 1 << 40, "lr": (0.1,),
        "config": BDHConfig(**CONFIG), "model_state_dict": state_dict(w, older)}))
    assert np.array_equal(plain, saved(lambda w: {
        "config": CONFIG, "model": state_dict(w, values, parameter=True)}))
    assert np.array_equal(plain, saved(lambda w: {
        "config": CONFIG, "model": state_dict(w, values, dtype="float64")}))
    no_freqs = {name: array for name, array in values.items() if name != "attn.freqs"}
    assert np.allclose(plain, saved(lambda w: {"config": CONFIG, "model": state_dict(w, no_freqs)}),
                       atol=1e-5)
    assert np.array_equal(plain, saved(lambda w: {"config": CONFIG, "model": {
        name: w.tensor(array, transposed=name in ("encoder", "lm_head"))
        for name, array in values.items()}}))


@pytest.mark.parametrize("dtype, digits", [("float16", 11), ("bfloat16", 8)])
def test_halves(file, dtype, digits):
    values = {name: array if "freqs" in name else np.round(array * 16) / 16
              for name, array in arrays().items()}  # exact in either
    writer = Writer()
    writer.save(file, {"config": CONFIG, "model": {
        name: writer.tensor(array, dtype="float32" if "freqs" in name else dtype)
        for name, array in values.items()}})
    whole = Writer()
    whole.save(file.with_name("whole.pt"), {"config": CONFIG, "model": state_dict(whole, values)})

    assert np.array_equal(logits(file), logits(file.with_name("whole.pt")))


def test_views_may_share_a_storage(file):
    values = arrays()
    values["lm_head"] = np.ascontiguousarray(values["embed.weight"].T)
    writer = Writer()
    model = state_dict(writer, values)
    tied = model["embed.weight"].storage
    model["lm_head"] = Tensor(tied, 0, (D, V), (1, D))
    joined = writer.storage(np.concatenate([values["encoder"].ravel(),
                                            values["encoder_v"].ravel()]))
    model["encoder"] = Tensor(joined, 0, (H, D, N), (D * N, N, 1))
    model["encoder_v"] = Tensor(joined, H * D * N, (H, D, N), (D * N, N, 1))
    writer.save(file, {"config": CONFIG, "model": model})
    apart = Writer()
    apart.save(file.with_name("apart.pt"), {"config": CONFIG, "model": state_dict(apart, values)})

    assert np.array_equal(logits(file), logits(file.with_name("apart.pt")))


def test_a_bare_state_dict_goes_with_a_config_beside_it(file, plain):
    writer = Writer()
    writer.save(file, state_dict(writer, arrays()))
    refused(file, "no configuration")

    (file.parent / "config.json").write_text(str(CONFIG).replace("'", '"'))
    assert np.array_equal(plain, logits(file))


def test_unknown_entries_are_passed_over_and_byte_order_is_not(file, plain):
    writer = Writer()
    value = {"config": CONFIG, "model": state_dict(writer, arrays())}
    writer.save(file, value, extra=[("byteorder", b"little"), (".format_version", b"1"),
                                    (".data/serialization_id", b"123")])
    assert np.array_equal(plain, logits(file))

    writer.save(file, value, extra=[("byteorder", b"big")])
    refused(file, "byte order is big")


class Runs:
    """What it names would be called by pickle.load."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def test_a_pickle_that_wants_to_run_something_is_refused(file, tmp_path):
    import os
    import subprocess
    touched = tmp_path / "touched"
    for attack in (Runs(os.system, f"touch {touched}"), Runs(eval, "1"), Runs(exec, "pass"),
                   Runs(subprocess.call, ["touch", str(touched)]), Runs(__import__, "os")):
        writer = Writer()
        model = state_dict(writer, arrays())
        writer.save(file, {"config": CONFIG, "model": model, "note": attack})
        refused(file, "an attack")
    assert not touched.exists()


def test_harmless_objects_of_other_libraries_stay_what_they_are(file, plain):
    import pathlib
    from fractions import Fraction
    writer = Writer()
    writer.save(file, {"config": CONFIG, "model": state_dict(writer, arrays()),
                       "loss": np.float64(1.5), "at": pathlib.PurePosixPath("/data"),
                       "rate": Fraction(1, 3)})
    assert np.array_equal(plain, logits(file))


def test_tensors_that_lie(file):
    def one(name, change, why):
        writer = Writer()
        model = state_dict(writer, arrays())
        model[name] = change(writer, model[name]) or model[name]
        writer.save(file, {"config": CONFIG, "model": model})
        refused(file, why)

    def claim(**fields):
        def change(_writer, tensor):
            tensor.__dict__.update(fields)
        return change

    def claim_storage(**fields):
        def change(_writer, tensor):
            tensor.storage = dataclasses.replace(tensor.storage, **fields)
        return change

    one("decoder", claim(offset=1), "reaches past its storage of 48 elements")
    one("decoder", claim(offset=-1), "make no sense")
    one("decoder", claim(strides=(5, 1)), "reaches past")
    one("decoder", claim(strides=(1 << 40, 1)), "reaches past")
    one("decoder", claim(strides=((1 << 62), 1)), "overflow")
    one("decoder", claim(strides=(-4, 1)), "make no sense")
    one("decoder", claim(strides=(4,)), "make no sense")
    one("decoder", claim(shape=(H * N, 0)), "dimensions is 0")
    one("decoder", claim(shape=(H * N, D, 1), strides=(4, 1, 1)), "another shape")
    one("decoder", claim(shape=(D, H * N), strides=(12, 1)), "another shape")
    one("decoder", claim(offset=1 << 70), "integer of 9 bytes")
    one("decoder", lambda w, t: Tensor(w.storage(np.zeros(1, "f4")), 0, (H * N, D), (0, 0)),
        "reaches past its storage of 1 ")  # a small file may not claim to be a large model
    one("decoder", claim_storage(numel=49), "192 bytes for 49 elements")
    one("decoder", claim_storage(numel=1 << 61), "192 bytes for")
    one("decoder", claim_storage(key="99"), "archive/data/99 is missing")
    one("decoder", claim_storage(key="../version"), "is missing")
    one("decoder", claim_storage(key="x" * 100), "not described")
    one("decoder", claim_storage(dtype="int64"), "floats, halfs")
    one("decoder", lambda w, t: 7, "not a tensor")
    one("decoder", lambda w, t: w.tensor(np.full((H * N, D), np.nan, "f4")), "no finite number")
    one("decoder", lambda w, t: w.tensor(np.full((H * N, D), 1e300)), "no finite number")


def test_dicts_that_lie(file):
    def saved(change, why):
        writer = Writer()
        value = {"config": dict(CONFIG), "model": state_dict(writer, arrays())}
        value = change(value) or value
        writer.save(file, value)
        refused(file, why)

    saved(lambda v: v["config"].update(n_layer=0), "n_layer must be from 1")
    saved(lambda v: v["config"].update(n_layer="2"), "no whole number n_layer")
    saved(lambda v: v["config"].update(n_layer=-1), "no whole number n_layer")
    saved(lambda v: v["config"].update(n_layer=2.0), "no whole number n_layer")
    saved(lambda v: v["config"].update(dropout=1.5), "dropout must be")
    saved(lambda v: v["config"].update(n_head=4), "must be even")
    saved(lambda v: v["config"].update(n_head=6), "another shape")
    saved(lambda v: v["config"].update(vocab_size=256), "another shape")
    saved(lambda v: v["config"].pop("n_embd") and None, "no whole number n_embd")
    saved(lambda v: v.update(config=3), "neither a BDHConfig nor a dict")
    saved(lambda v: v.update(model=[1, 2]), "no dict of tensors")
    saved(lambda v: v["model"].pop("lm_head") and None, "lm_head is missing")
    saved(lambda v: v["model"].update({"_orig_mod.decoder": v["model"]["decoder"]}),
          "decoder stands twice")
    saved(lambda v: [1, 2, 3], "a whole module was saved, or something else")


def put(number):
    return b"r" + struct.pack("<I", number)


@pytest.mark.parametrize("pickled, why", [
    (b"", "protocol 2"),
    (b"\x80\x05.", "protocol 2"),
    (b"\x80\x02", "without STOP"),
    (b"\x80\x02.", "one value"),
    (b"\x80\x02}}.", "one value"),
    (b"\x80\x02(}.", "one value"),
    (b"\x80\x02}0.", "opcode 0x30"),
    (b"\x80\x02cos\nsystem\n.", "no dict of config"),
    (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.", "call os.system"),
    (b"\x80\x02(cos\nsystem\nX\x02\x00\x00\x00ido.", "opcode 0x6f"),
    (b"\x80\x02(X\x02\x00\x00\x00idios\nsystem\n.", "opcode 0x69"),
    (b"\x80\x02c" + b"m" * 300 + b"\nx\n.", "name of more than 255"),
    (b"\x80\x02cos", "ends inside"),
    (b"\x80\x02X\xff\xff\xff\xffab.", "ends inside"),
    (b"\x80\x02\x8a\x09123456789.", "integer of 9 bytes"),
    (b"\x80\x02}" + put(0xFFFFFFFF) + b".", "memo entries"),
    (b"\x80\x02}h\x07.", "memo entry 7, which is not set"),
    (b"\x80\x02j\xff\xff\xff\xff.", "which is not set"),
    (b"\x80\x02q\x00.", "empty stack"),
    (b"\x80\x02R.", "empty stack"),
    (b"\x80\x02\x87.", "empty stack"),
    (b"\x80\x02}(K\x01u.", "key without a value"),
    (b"\x80\x02K\x01(K\x01K\x02u.", "what holds none"),
    (b"\x80\x02}}b.", "state of what has none"),
    (b"\x80\x02u.", "mark that is not there"),
    (b"\x80\x02" + b"(" * 5000 + b".", "nests deeper than 64"),
    (b"\x80\x02)" + b"\x85" * 5000 + b".", "nests deeper than 64"),
    (b"\x80\x02]q\x00" + b"]h\x00a" * 3 + b"0.", "opcode 0x30"),
    (b"\x80\x02" + b"}" * 100_000 + b".", "more than 65536 objects"),
    (b"\x80\x02(" + b"K\x01" * 300_000 + b"t.", "more than 262144 values"),
    (b"\x80\x02" + b"N" * (1 << 20), "over 1048576 bytes"),
    (pickle.dumps({"a": 1}, 0), "protocol 2"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_pickles_that_lie(file, pickled, why):
    Writer().save(file, pickled=pickled or b"\0")
    refused(file, why)


def test_keys_that_stand_twice(file):
    twice = (b"\x80\x02}(X\x06\x00\x00\x00configK\x01X\x06\x00\x00\x00configK\x02"
             b"X\x05\x00\x00\x00modelK\x03u.")
    Writer().save(file, pickled=twice)
    refused(file, "key config stands twice")


def test_archives_that_lie(file):
    writer = Writer()
    value = {"config": CONFIG, "model": state_dict(writer, arrays())}

    def patched(find, offset, new, why):
        data = bytearray(file.read_bytes())
        at = data.rfind(find) + offset
        data[at:at + len(new)] = new
        file.with_name("bad.pt").write_bytes(data)
        refused(file.with_name("bad.pt"), why)

    writer.save(file, value, compression=zipfile.ZIP_DEFLATED)
    refused(file, "compressed or encrypted")
    writer.save(file, value)
    patched(b"PK\5\6", 10, b"\xff\xff", "1024 entries")
    patched(b"PK\5\6", 12, b"\xff\xff\xff\x7f", "outside the file")
    patched(b"PK\5\6", 16, b"\xff\xff\xff\x7f", "outside the file")
    patched(b"PK\1\2", 42, b"\xff\xff\xff\x7f", "outside the file")
    patched(b"PK\1\2", 42, b"\0\0\0\0", "is another's")
    patched(b"PK\1\2", 20, b"\xff\xff\0\0\xff\xff\0\0", "pass the file's end")
    patched(b"PK\1\2", 24, b"\1", "compressed or encrypted")
    patched(b"PK\1\2", 20, b"\xff" * 8, "ZIP64 sizes are missing")
    patched(b"PK\1\2", 8, b"\1", "compressed or encrypted")
    patched(b"PK\1\2", 28, b"\0\0", "empty, long or holds a NUL")
    patched(b"PK\1\2", 0, b"XX", "directory is damaged")
    patched(b"PK\5\6", 0, b"XX", "cut off or still being copied")
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("archive/version", b"3\n")
    refused(file, "stands twice")
    file.write_bytes(b"\x80\x02}.            ")
    refused(file, "PyTorch before 1.6")
    Writer().save(file, pickled=b"\x80\x02}.", stem="a/b")
    refused(file, "without data.pkl")


def test_zip64_records_are_read(file, plain, monkeypatch):
    writer = Writer()
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    writer.save(file, {"config": CONFIG, "model": state_dict(writer, arrays())})

    assert b"PK\6\6" in file.read_bytes()
    assert np.array_equal(plain, logits(file))


@pytest.mark.parametrize("args, status, why", [
    ([TINY / "model.pt"], 2, "IN and OUT are needed"),
    ([TINY / "model.pt", "/nowhere/x"], 1, "cannot write"),
    (["/nowhere", "x"], 1, "/nowhere: cannot open"),
    ([TINY / "model.pt", "x", "--dtype", "f64"], 2, "--dtype must be"),
    ([TINY / "model.pt", "x", "--shape"], 2, "unknown option --shape"),
])
def test_convert_refuses(args, status, why):
    done = run("bdh", "convert", *args)

    assert done.returncode == status
    assert why in done.stderr.decode()
