"""The readmes and docs/*.md are true: their commands parse and run, their Python runs, what they name exists."""

import argparse
import importlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings

import jsonargparse
import pytest

from glorext.runtime.arguments import SAME, spelled
from glorext.runtime.cli import COMMANDS, main
from glorext.train.command import make_parser

from .documents import PAGES, READMES, ROOT, blocks, commands, spans

# Programs of others; what they take is theirs to say.
FOREIGN = {"cmake", "cosign", "cp", "docker-registry", "export", "pip", "skopeo", "tritonserver", ".venv/bin/pip"}
# A command that is typed in one place and mentioned in another counts as typed.
ALL = list(
    {
        each.text: each
        for each in sorted((each for page in PAGES for each in commands(page)), key=lambda each: each.complete)
    }.values()
)
OWN = [command for command in ALL if command.text.split()[0] not in FOREIGN]
DIGITS = "resnext50-digits"
# What does not run here, and why.
NOT_RUN = {
    "Ascend": "an Ascend card",
    "registry.example.com": "an OCI registry; tests/hub/test_oci.py starts one",
    "oci://": "an OCI registry; tests/hub/test_oci.py starts one",
    "ascend310_lite.mindir": "an Ascend card",
    "benchmarks/": "a measurement of minutes",
    "make ": "builds an environment; make itself parses it",
    "scripts/": "eight cards; what they start is parsed",
    "-m glorext.train --data_dir": "ImageNet",
    ".venv/bin/": "the environment of make",
    "selftest.sh": "on the machine with the card; tests/deploy/test_bundle.py runs it",
    "--recipe digits": "the run of `way` was made so",
    "glorext bench": "measures for minutes; tests/deploy/test_bench.py runs it",
    "glorext acceptance": "takes minutes; tests/deploy/test_acceptance.py has its parts, .ci/run its short form",
    "--bisect": "takes a minute; tests/deploy/test_parity.py runs it",
    "/dataset": "ImageNet",
    "--parity": "every hop takes half a minute; tests/deploy/test_parity.py and test_report.py have them",
}


class Parsed(BaseException):
    """A parser has accepted its arguments; nothing of the command was run."""


class Asked(BaseException):
    """A parser was about to read its arguments."""


@pytest.fixture
def stopped(monkeypatch):
    """Call it to have every parser stop the program: once it has read its arguments, or before (`read=False`)."""

    def stop(read=True):
        for kind in (argparse.ArgumentParser, jsonargparse.ArgumentParser):

            def parse_args(self, *arguments, _own=kind.parse_args, **named):
                if not read:
                    raise Asked(self)
                found = _own(self, *arguments, **named)
                if "flags" in vars(found) and self.prog.endswith("launch"):
                    return found  # it goes on to parse those of the program that it starts
                raise Parsed(self)

            def parse_known_args(self, *arguments, _own=kind.parse_known_args, **named):
                if not read:
                    raise Asked(self)
                return _own(self, *arguments, **named)

            monkeypatch.setattr(kind, "parse_args", parse_args)
            monkeypatch.setattr(kind, "parse_known_args", parse_known_args)

    return stop


def call(words, monkeypatch):
    """Run a command of this project in this process, through its own entry point; its exit status."""
    if words[0] == "glorext" or words[:3] == ["python", "-m", "glorext"]:
        return main(words[1 if words[0] == "glorext" else 3 :])
    assert words[0] == "python", f"no program of this project: {words}"
    module = words[1] == "-m"
    monkeypatch.setattr(sys, "argv", words[2:] if module else words[1:])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # runpy: the module is imported already
            if module:
                runpy.run_module(words[2], run_name="__main__", alter_sys=True)
            else:
                monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
                runpy.run_path(str(ROOT / words[1]), run_name="__main__")
    except SystemExit as end:
        return end.code or 0
    return 0


def words_of(text):
    """The words of a command line, without comment and variables set before it."""
    words = shlex.split(text.replace("[", "").replace("]", ""), comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return words


def started_by(words, folder, monkeypatch):
    """The command lines that a shell script of this project starts, each in the words that a user would type."""
    log, fake = folder / "started", folder / "bin" / "glorext"
    fake.parent.mkdir(exist_ok=True)
    for name in ("glorext", "python"):
        path = fake.with_name(name)
        path.write_text(
            f'#!/bin/sh\nfor word in {name} "$@"; do printf "%s\\n" "$word"; done >>"{log}"\necho >>"{log}"\n'
        )
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", str(fake.with_name("python")))
    for word in words[2:]:  # what a script is given must exist
        if "/" in word or "." in word:
            (folder / word.lstrip("/")).mkdir(parents=True, exist_ok=True)
    given = [word.lstrip("/") if word.startswith("/dataset") else word for word in words[2:]]
    done = subprocess.run([words[0], str(ROOT / words[1]), *given], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return [part.split("\n") for part in log.read_text().strip().split("\n\n")]


def rank_table(path):
    card = {"device_id": "0", "device_ip": "10.0.0.1", "rank_id": "0"}
    path.write_text(json.dumps({"version": "1.0", "server_list": [{"server_id": "10.0.0.9", "device": [card]}]}))


@pytest.mark.parametrize("command", [each for each in OWN if each.complete], ids=lambda command: command.text[:60])
def test_the_parser_of_the_command_takes_it(command, stopped, monkeypatch, tmp_path, way):
    words = words_of(command.text.replace("--from resnext50", f"--from {way.package}"))
    if words[0] == "make":
        done = subprocess.run(["make", "-n", "-C", str(ROOT), *words[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return
    if words[:2] == ["python", "-c"]:
        compile(words[2], command.text, "exec")
        return
    if words[0] == ".venv/bin/python":
        assert words[1:3] == ["-m", "pytest"] and all((ROOT / word).exists() for word in words if word.endswith(".py"))
        return
    monkeypatch.chdir(tmp_path)
    rank_table(tmp_path / "RANK_TABLE_FILE")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(way.run)
    if words[0] in ("sh", "bash"):
        started = started_by(words, tmp_path, monkeypatch)
    elif words[0].endswith(".sh"):
        assert (ROOT / "deploy" / "scripts" / words[0]).is_file()
        return
    else:
        started = [words]
    stopped()
    for each in started:
        with pytest.raises(Parsed):
            call(each, monkeypatch)


@pytest.mark.parametrize("command", [each for each in OWN if not each.complete], ids=lambda command: command.text[:60])
def test_a_mentioned_command_has_the_flags_that_the_sentence_gives_it(command, stopped, monkeypatch):
    words = words_of(command.text)
    if words[0] == "make":
        done = subprocess.run(["make", "-n", "-C", str(ROOT), *words[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return
    if words in (["python", "-m", "glorext"], ["glorext", "--help"]):
        assert call([*words, "--help"], monkeypatch) == 0
        return
    stopped(read=False)
    with pytest.raises(Asked) as found:
        call(words, monkeypatch)
    known = set(found.value.args[0]._option_string_actions)
    if words[:2] == ["glorext", "lr"]:
        known |= set(make_parser()._option_string_actions)  # what it does not know itself, it reads as `glorext train`
    assert {word.split("=")[0] for word in spelled(words, known) if word.startswith("--")} <= known, command


def test_every_flag_in_a_sentence_is_one_of_some_command(stopped, monkeypatch):
    stopped(read=False)
    known = {"--version", *(f"--{name}" for names in SAME for name in names)}
    for name in COMMANDS:
        with pytest.raises(Asked) as found:
            main([name])
        known |= set(found.value.args[0]._option_string_actions)
    named = {
        (page.name, flag)
        for page in PAGES
        for span in spans(page)
        if not span.startswith("python benchmarks/") and span.split()[0] not in {"atc", "pip", "ruff"}
        for flag in re.findall(r"(?<![\w-])--[a-z]\w[\w-]*", span)
    }
    assert len(named) > 20
    assert not {one for one in named if one[1] not in known}


def test_a_command_of_another_name_or_with_another_flag_is_refused(stopped, monkeypatch, capsys):
    stopped()
    assert call(["glorext", "converted", "x"], monkeypatch) == 2
    with pytest.raises(SystemExit) as end:
        call(["glorext", "verify", "x", "--fast"], monkeypatch)
    assert end.value.code == 2 and "--fast" in capsys.readouterr().err
    assert call(words_of("glorext launch --devices 8 train --data_dir x --plattform CPU"), monkeypatch) == 2
    assert "plattform" in capsys.readouterr().err
    assert call(words_of("glorext train --data_dir x --batch_size many"), monkeypatch) == 2
    with pytest.raises(Parsed):
        call(words_of("glorext train --data_dir x --batch_size 4"), monkeypatch)


def small(text, way):
    """A command of a page as it runs here: a small network, two hosts instead of eight; one or more lines."""
    converted = f"--model converted/{DIGITS}_lite.mindir "
    for old, new in {
        "--recipe finetune --from resnext50": f"--recipe finetune --from {way.package} --stop_after 1",
        "--recipe finetune_strong --from resnext50": f"--recipe finetune_strong --from {way.package} --stop_after 1",
        "--reference": f"{converted} --reference",
        "--model M ": converted,
        "1/8 --out shard1": "1/2 --out shard1\n{0}2/2 --out shard2",
        "shard1 shard2 ... shard8": "shard1 shard2",
        "validate NAME": f"validate {DIGITS}",
    }.items():
        text = text.replace(old, new)
    first, *others = text.split("\n")
    return [first, *(other.replace("{0}", first.partition("1/2")[0]) for other in others)]


def run_page(page, folder, way, monkeypatch):
    """Run the commands of a page in `folder`, in their order; which ran."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GLOREXT_REGISTRIES", "registry")
    ran = []
    for command in commands(page):
        if not command.complete or command.text.split()[0] in FOREIGN or any(part in command.text for part in NOT_RUN):
            continue
        for text in small(command.text, way):
            words = words_of(text)
            if words[:2] == ["python", "-c"]:
                exec(compile(words[2], page.name, "exec"), {})
            else:
                assert call(words, monkeypatch) == 0, text
            ran.append(text)
    return ran


@pytest.fixture(scope="module")
def desk(way, tmp_path_factory):
    """The folder in which every command of the readme was run: pictures, a published model, what was made of it."""
    if shutil.which("g++") is None or shutil.which("cmake") is None:
        pytest.skip("no C++ compiler")
    from PIL import Image

    folder = tmp_path_factory.mktemp("desk")
    for name, part in {"train": "train", "val": "val", "my_folder": "val"}.items():
        (folder / name).symlink_to(way.data / part)
    for run in ("run", "runs/mine"):
        shutil.copytree(way.run, folder / run)
    shutil.copyfile(way.run / "best.ckpt", folder / "resnext50.ckpt")
    with Image.open(next((way.data / "val").rglob("*.png"))) as digit:
        digit.convert("RGB").resize((300, 260)).save(folder / "cat.jpg")
        digit.save(folder / "7.png")
    with pytest.MonkeyPatch.context() as patch:
        assert len(run_page(READMES[0], folder, way, patch)) > 10
        assert call(words_of(f"glorext eval {DIGITS} --data_dir val --results mindspore"), patch) == 0
    return folder


@pytest.mark.slow
@pytest.mark.native
@pytest.mark.parametrize("page", ["deploying", "predict", "serving", "training", "validation"])
def test_the_commands_of_a_page_run_after_those_of_the_readme(page, desk, way, monkeypatch):
    path = ROOT / "docs" / f"{page}.md"
    if page == "validation":
        (metrics,) = (block for block in blocks(path) if block.language == "python")
        (desk / "my_metrics.py").write_text(metrics.text)
    assert run_page(path, desk, way, monkeypatch)


@pytest.mark.slow
def test_a_model_is_published_and_loaded_by_the_commands_of_its_page(way, tmp_path, monkeypatch):
    shutil.copytree(way.run, tmp_path / "outputs" / "digits")
    ran = run_page(ROOT / "docs" / "publishing.md", tmp_path, way, monkeypatch)
    assert any("mindspore_hub.load" in text for text in ran)
    (block,) = (block for block in blocks(ROOT / "docs" / "publishing.md") if block.language == "python")
    names = {"mindspore_hub": importlib.import_module("mindspore_hub")}
    exec(compile(block.text, block.page, "exec"), names)
    assert names["net"].training is False


@pytest.mark.slow
@pytest.mark.native
def test_the_python_of_the_pages_runs(desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    monkeypatch.setenv("GLOREXT_REGISTRIES", "registry")
    for page in (*READMES, ROOT / "docs" / "predict.md"):
        (block,) = (block for block in blocks(page) if block.language == "python")
        names: dict = {}
        exec(compile(block.text, page.name, "exec"), names)
        assert capsys.readouterr().out.count("((") == (1 if page in READMES else 2), "an answer for each picture"
        assert page not in READMES or names["net"].training is False
    (block,) = (block for block in blocks(ROOT / "docs" / "training.md") if block.language == "python")
    exec(compile(block.text, block.page, "exec"), {})
    assert re.search(r"^[0-9.]+% after epoch [12] [0-9]$", capsys.readouterr().out, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_compiles(page):
    for block in (block for block in blocks(page) if block.language == "python"):
        compile(block.text, page.name, "exec")
