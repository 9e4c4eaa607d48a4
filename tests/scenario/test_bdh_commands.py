"""`hatchway bdh ...` and `hatchway worker` by hand: what they print, and how they refuse."""
import array
import json
import re
import shutil

import pytest

from harness.gateway import HATCHLING, TINY_MODEL, VECTORS, run

NAMES = sorted(path.name for path in VECTORS.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_logits_agree_with_the_mathematics(name):
    folder = VECTORS / name
    tokens = (folder / "tokens.u16").read_bytes()
    expected = array.array("f", (folder / "logits_ref64.f32").read_bytes())

    done = run("bdh", "logits", folder / "model.safetensors", "--tokens", "u16", stdin=tokens)

    got = array.array("f", done.stdout)
    assert done.returncode == 0
    assert len(got) == len(expected)
    bound = 2e-5 * max(1.0, max(map(abs, expected)))
    assert max(abs(a - b) for a, b in zip(got, expected)) <= bound


def test_logits_of_bytes_are_those_of_the_same_tokens():
    model = VECTORS / "tiny_s002" / "model.safetensors"

    as_bytes = run("bdh", "logits", model, stdin=b"hatch")
    as_tokens = run("bdh", "logits", model, "--tokens", "u16", stdin="hatch".encode("utf-16-le"))

    assert len(as_bytes.stdout) == 5 * 256 * 4
    assert as_bytes.stdout == as_tokens.stdout


def test_logits_refuse_what_is_no_token():
    half = run("bdh", "logits", TINY_MODEL, "--tokens", "u16", stdin=b"a\0b")
    assert half.returncode == 1
    assert b"inside a 16-bit token" in half.stderr

    outside = run("bdh", "logits", VECTORS / "h2_d4_tiny" / "model.safetensors", stdin=b"\x01\x0b")
    assert outside.returncode == 1
    assert b"token 11 at position 1 is outside the vocabulary of 11" in outside.stderr


def test_inspect_shows_what_a_checkpoint_holds():
    done = run("bdh", "inspect", VECTORS / "tiny_s002" / "model.safetensors")

    shown = dict(line.split(maxsplit=1) for line in done.stdout.decode().splitlines()
                 if len(line.split()) == 2)
    assert done.returncode == 0
    assert shown["parameters"] == "40960"
    assert shown["n_layer"] == "2"
    assert shown["vocab_size"] == "256"
    assert len(shown["digest"]) == 64


def test_inspect_shows_decay_phases_and_what_was_trained():
    def shown(name):
        return run("bdh", "inspect", VECTORS / name / "model.safetensors").stdout.decode()

    assert re.search(r"^decay +0.9375 a token$", shown("h5_d36_decay"), re.M)
    assert re.search(r"^phases +f64$", shown("h3_d20_wide"), re.M)
    plain = shown("tiny_s002")
    assert re.search(r"^phases +f32$", plain, re.M)
    assert re.search(r"^trained context +not known$", plain, re.M)
    assert "decay" not in plain


def test_generate_draws_the_same_text_for_the_same_seed():
    asked = ["bdh", "generate", TINY_MODEL, "--prompt", "Once", "--max-tokens", 40]
    sampled = asked + ["--temperature", 1, "--top-k", 20, "--top-p", 0.9]

    greedy = run(*asked).stdout
    assert greedy == run(*sampled, "--greedy").stdout
    assert run(*sampled, "--seed", 1).stdout == run(*sampled, "--seed", 1).stdout
    assert run(*sampled, "--seed", 1).stdout != run(*sampled, "--seed", 2).stdout
    greedy.decode()  # whatever the model says, it is printed as UTF-8


def test_generate_reads_a_prompt_from_stdin():
    asked = ["bdh", "generate", TINY_MODEL, "--max-tokens", 10, "--prompt"]

    assert run(*asked, "-", stdin=b"Once").stdout == run(*asked, "Once").stdout


@pytest.mark.parametrize("precision", ["f32", "fast"])
def test_an_answer_set_aside_goes_on_as_if_it_had_been_longer(tmp_path, precision):
    state = tmp_path / "state"
    asked = ["bdh", "generate", HATCHLING, "--precision", precision, "--raw", "--temperature", 2]
    begin = [*asked, "--prompt", "What is a route?", "--seed", 3, "--max-tokens"]

    whole = run(*begin, 60).stdout
    first = run(*begin, 25, "--save-state", state).stdout
    rest = run(*asked, "--load-state", state, "--max-tokens", 35).stdout

    assert first[:-1] + rest == whole  # but for the line's end behind each
    anew = run(*asked, "--load-state", state, "--max-tokens", 35, "--seed", 4).stdout
    assert anew != rest


def test_a_character_that_is_cut_is_printed_whole_with_the_second_part(tmp_path):
    state = tmp_path / "state"
    asked = ["bdh", "generate", TINY_MODEL, "--raw", "--temperature", 1]
    begin = [*asked, "--prompt", "Once", "--seed", 5, "--max-tokens"]
    whole = run(*begin, 40).stdout
    waited = 0

    for cut in range(1, 40):
        first = run(*begin, cut, "--save-state", state)
        rest = run(*asked, "--load-state", state, "--max-tokens", 40 - cut).stdout
        assert first.stdout[:-1] + rest == whole
        waited += f"of the answer wait in {state} for what follows them: \\x" in first.stderr.decode()

    assert waited > 0


def test_a_conversation_out_of_a_file_is_the_one_that_was_read_whole(tmp_path):
    state, again = tmp_path / "state", tmp_path / "again"

    first = run("bdh", "generate", HATCHLING, "--prompt", "What is a route?",
                "--save-state", state).stdout.decode().strip()
    second = run("bdh", "generate", HATCHLING, "--load-state", state, "--prompt",
                 "What is a lane?", "--save-state", again).stdout
    raw = f"Q: What is a route?\nA: {first}\nQ: What is a lane?\nA: "
    whole = run("bdh", "generate", HATCHLING, "--raw", "--stop", "\n", "--prompt", raw).stdout

    assert second.strip() == whole.strip()
    assert again.exists()


def test_a_text_is_read_once_for_many_questions(tmp_path):
    state = tmp_path / "state"
    text = "Lanes keep an urgent question from waiting behind others.\n" * 20
    question = "Q: What is a lane?\nA: "
    asked = ["bdh", "generate", HATCHLING, "--raw", "--max-tokens", 40]

    read = run("bdh", "generate", HATCHLING, "--raw", "--max-tokens", 0, "--prompt", "-",
               "--save-state", state, stdin=text.encode())
    for end in "?", "!":
        late = run(*asked, "--load-state", state, "--prompt", question + end).stdout
        assert late == run(*asked, "--prompt", text + question + end).stdout

    assert read.stdout == b""


def test_the_bench_of_a_conversation_comes_to_the_same_logits():
    done = run("bdh", "bench", TINY_MODEL, "--chat")

    assert done.returncode == 0, done.stderr  # other logits are an error
    assert b"times less: from a snapshot" in done.stdout


def test_a_state_of_another_model_is_refused(tmp_path):
    state = tmp_path / "state"
    run("bdh", "generate", TINY_MODEL, "--prompt", "Once", "--max-tokens", 5,
        "--save-state", state)

    other = run("bdh", "generate", HATCHLING, "--load-state", state)
    fast = run("bdh", "generate", TINY_MODEL, "--precision", "fast", "--load-state", state)
    state.write_bytes(state.read_bytes()[:-1])
    cut = run("bdh", "generate", TINY_MODEL, "--load-state", state)

    assert [done.returncode for done in (other, fast, cut)] == [1, 1, 1]
    assert f"{state}: is of another model".encode() in other.stderr
    assert b"is of a session in f32, this one is in fast" in fast.stderr
    assert b"bytes where its head says" in cut.stderr


@pytest.mark.parametrize("args, status, why", [
    ([], 2, "which command?"),
    (["quack"], 2, 'no command "quack"'),
    (["inspect"], 2, "one MODEL"),
    (["inspect", "/nowhere"], 1, "/nowhere: cannot open: No such file"),
    (["generate", TINY_MODEL], 2, "--prompt are needed"),
    (["generate", TINY_MODEL, "--prompt"], 2, "--prompt needs a value"),
    (["generate", TINY_MODEL, "--prompt", ""], 1, "the prompt is empty"),
    (["generate", TINY_MODEL, "--prompt", "x", "--colour"], 2, "unknown option --colour"),
    (["generate", TINY_MODEL, "--prompt", "x", "--top-p", "2"], 2, "--top-p must be a number"),
    (["generate", TINY_MODEL, "--prompt", "x", "--max-tokens", "-1"], 2, "--max-tokens must be"),
    (["generate", TINY_MODEL, "--prompt", "x", "--stop", ""], 2, "--stop: at most 4"),
    (["logits", TINY_MODEL, "--tokens", "u8"], 2, "--tokens must be bytes or u16"),
    (["loss", TINY_MODEL], 2, "a MODEL and --data are needed"),
    (["loss", TINY_MODEL, "--data", "/nowhere"], 1, "/nowhere"),
    (["loss", TINY_MODEL, "--data", VECTORS.parent / "make_bdh_vectors.py", "--length", "900000"],
     1, "is shorter than one sequence of 900000 bytes"),
    (["loss", TINY_MODEL, "--data", VECTORS.parent / "make_bdh_vectors.py", "--length", "4000"], 1,
     "is shorter than one sequence of 4000 bytes"),
    (["loss", TINY_MODEL, "--data", __file__, "--sequences", "0"], 2,
     "--sequences must be a whole number from 1 to 1000000"),
    (["loss", TINY_MODEL, "--data", __file__, "--block", "0"], 2,
     "--block must be a whole number from 1 to 1048576"),
    *((["loss", TINY_MODEL, "--data", __file__, "--val-fraction", odd], 2,
       "--val-fraction must be a number from 0.001 to 1") for odd in ("0", "1.5", "nan", "-1")),
    (["loss", VECTORS / "h2_d4_tiny" / "model.safetensors", "--data", __file__], 1,
     "vocabulary of 11 has no room for bytes"),
])
def test_refusals_say_what_to_mend(args, status, why):
    done = run("bdh", *args)

    assert done.returncode == status
    assert done.stderr.startswith(b"hatchway: ")
    assert why in done.stderr.decode()


@pytest.mark.parametrize("command", [["bdh"], ["bdh", "inspect"], ["bdh", "generate"],
                                     ["bdh", "logits"], ["bdh", "convert"], ["bdh", "bench"],
                                     ["bdh", "loss"],
                                     ["worker"]])
def test_help(command):
    done = run(*command, "--help")

    assert done.returncode == 0
    assert done.stdout.startswith(b"usage: hatchway " + " ".join(command).encode())


def test_configuration_beside_the_model(tmp_path):
    shutil.copy(VECTORS / "h3_d36_one" / "model.safetensors", tmp_path)
    alone = run("bdh", "inspect", tmp_path / "model.safetensors")
    assert alone.returncode == 1
    assert "config.json" in alone.stderr.decode()

    config = json.loads((VECTORS / "h3_d36_one" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert run("bdh", "inspect", tmp_path / "model.safetensors").returncode == 0

    config["n_embd"] += 6
    (tmp_path / "config.json").write_text(json.dumps(config))
    wrong = run("bdh", "inspect", tmp_path / "model.safetensors")
    assert wrong.returncode == 1
    assert "another shape" in wrong.stderr.decode()


def test_a_worker_says_why_it_cannot_start(tmp_path):
    done = run("worker", "--model", "/nowhere", "--socket", tmp_path / "s")
    assert done.returncode == 1
    assert "/nowhere" in done.stderr.decode()

    done = run("worker", "--model", TINY_MODEL, "--socket", "/" + "x" * 200)
    assert done.returncode == 1
    assert "--socket: the path must be under 108 bytes" in done.stderr.decode()

    done = run("worker", "--model", TINY_MODEL, "--socket", "s", "--precision", "int4")
    assert done.returncode == 2
    assert "--precision must be f32 or fast" in done.stderr.decode()

    done = run("worker", "--model", TINY_MODEL, "--socket", "s", "--max-sessions", "0")
    assert done.returncode == 2
    assert "--max-sessions must be a whole number from 1 to 4096" in done.stderr.decode()

    done = run("worker", "--model", TINY_MODEL)
    assert done.returncode == 2


def test_bench_prints_one_table():
    done = run("bdh", "bench", TINY_MODEL, "--seconds", "0.05",
               "--data", VECTORS.parents[2] / "models" / "hatchling" / "corpus.jsonl")

    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    for row in ("single stream", "16 sessions, total", "prefill of 4 KiB", "encoder", "state",
                "gathers", "RoPE angles", "sampling", "GB/s read", "GFLOPS", "fast costs"):
        assert row in shown


def loss(*args):
    shown = run("bdh", "bench", *args, "--seconds", "0.02").stdout.decode()
    return float(re.search(r"f32 ([0-9.]+), fast", shown)[1])


def test_loss_by_position(tmp_path):
    """A table of what each model makes of held-out text: the trainer's own figure in all."""
    text = tmp_path / "text.md"
    text.write_text("".join(f"Line {i} of {i * i}.\n" for i in range(400)))
    trained = run("bdh", "train", "--data", text, "--out", tmp_path / "run", "--steps", "3",
                  "--layers", "1", "--embd", "16", "--heads", "2", "--multiplier", "8", "--block",
                  "64", "--batch", "2", "--decay", "0.9", "--val-fraction", "0.2", "--threads", "1")
    assert trained.returncode == 0, trained.stderr
    model = tmp_path / "run" / "model.safetensors"

    asked = ["bdh", "loss", model, TINY_MODEL, "--data", text, "--val-fraction", "0.2"]
    shown = run(*asked).stdout.decode()
    assert "trained context 64, decay 0.9" in shown
    assert "trained context not known" in shown
    rows = [line.split() for line in shown.split("\n\n")[1].splitlines()[1:]]
    assert [row[0] for row in rows] == [f"{n}-{n + 63}" for n in range(0, 512, 64)] + ["all"]
    assert all(len(row) == 3 for row in rows)

    whole = run("bdh", "loss", model, "--data", text, "--val-fraction", "1").stdout.decode()
    assert whole.splitlines()[-1].startswith("all ")

    of_blocks = run(*asked, "--length", "64", "--sequences", "1000").stdout.decode()
    by_trainer = float(re.search(rb"validation ([0-9.]+)", trained.stdout)[1])
    assert abs(float(of_blocks.splitlines()[-1].split()[1]) - by_trainer) < 2e-3


def test_bench_of_a_model_doubled_is_of_the_same_answers():
    model = VECTORS / "tiny_s002" / "model.safetensors"
    assert abs(loss(model) - loss(model, "--doubled")) < 1e-5

    cannot = run("bdh", "bench", TINY_MODEL, "--doubled")  # 2 * 26 neurons are not what 8 * 20 / 3 is
    assert cannot.returncode == 1
    assert "neurons" in cannot.stderr.decode()


def test_bench_of_a_shape():
    shown = run("bdh", "bench", "--shape", "1,16,2,4", "--seconds", "0.02").stdout.decode()
    assert "model random: 11264 parameters" in shown
    for wrong in (["--shape", "1,16,2"], ["--shape", "1,16,2,4,5"], ["--shape", "1,16,-2,4"],
                  ["--shape", "1,16,2,4", TINY_MODEL], ["--shape", "1,16,2,4", "--doubled"], []):
        assert run("bdh", "bench", *wrong).returncode == 2
    odd = run("bdh", "bench", "--shape", "1,15,3,1")
    assert odd.returncode == 1
    assert "must be" in odd.stderr.decode()
