"""Every benchmark runs at its smallest, and the readmes' table says what the files of results say."""

import importlib
import json
import math
import os
import re
import shutil
import subprocess
import sys

import pytest

from glorext.runtime import DataError, SetupError, UsageError

from .documents import ROOT, tables

BENCHMARKS = ROOT / "benchmarks"
NAMES = sorted(path.stem.removeprefix("bench_") for path in BENCHMARKS.glob("bench_*.py"))
NATIVE = {"infer", "parity", "workers"}
ONE = {"processor": "Some CPU @ 2.0GHz", "cores": 2, "avx": "AVX2", "memory_gb": 8, "system": "Linux x", "load": 0.1}
OTHER = {**ONE, "processor": "Other CPU", "avx": "AVX-512"}


@pytest.fixture
def tools(monkeypatch):
    """The modules of benchmarks/ that are not benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("measured", "results", "run")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield type("Tools", (), {name: importlib.import_module(name) for name in names})
    for name in names:
        sys.modules.pop(name, None)


def entry(*rows, skipped=None):
    """What a benchmark hands over."""
    return {"claim": "it is fast", "rows": list(rows), "skipped": skipped, "versions": {"glorext": "0.1.0"}}


def row(what, glorext=2.0, value=1.0, peer="peer 1.0", unit="s"):
    ratio = None if value is None else value / glorext
    return {
        "what": what,
        "unit": unit,
        "better": "less",
        "glorext": glorext,
        "peer": peer,
        "peer_value": value,
        "ratio": ratio,
    }


def complete(tools, glorext=2.0):
    """Benchmarks in which every row of the table was measured."""
    found = {}
    for name, what in tools.results.SHOWN:
        found.setdefault(name, entry())["rows"].append(row(what, glorext))
    return found


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.native] if n in NATIVE else []) for n in NAMES])
def test_the_benchmark_runs_at_its_smallest_and_hands_over_what_it_measured(name, tools, tmp_path):
    words = [sys.executable, str(BENCHMARKS / f"bench_{name}.py"), "--smoke", "--json", str(tmp_path / "out.json")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "out.json").read_text())
    if found["skipped"]:
        pytest.skip(found["skipped"])
    path = tools.results.Results("2026-01-31", ONE, {name: found}).write(tmp_path)
    assert tools.results.read(path).benchmarks == {name: found}
    assert found["rows"] and found["versions"].keys() >= {"glorext", "mindspore", "python"}
    for each in found["rows"]:
        assert math.isfinite(each["glorext"]) and each["glorext"] >= 0
        assert (each["peer"] is None) == (each["peer_value"] is None)
    measured = {each["what"] for each in found["rows"]}
    if name == "train":  # at its smallest it has a table of its own
        measured |= set(importlib.import_module("bench_train").TABLES)
    assert {what for of, what in tools.results.SHOWN if of == name} <= measured
    assert sorted(os.listdir(tmp_path)) == [path.name, "out.json"]


@pytest.mark.parametrize("name, words", [("README.md", "ENGLISH"), ("README_CN.md", "CHINESE")])
def test_the_table_in_the_readme_is_the_one_that_the_committed_results_give(name, words, tools):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert tools.results.with_table(text, tools.results.read_all(), getattr(tools.results, words)) == text


def test_the_page_names_every_benchmark():
    (table,) = (rows for rows in tables(ROOT / "docs" / "benchmarks.md") if rows[0][0] == "name")
    assert [cells[0].strip("`") for cells in table[1:]] == NAMES


def test_a_ratio_above_one_is_in_favor_of_glorext_whether_more_or_less_is_better(tools):
    Row = tools.measured.Row
    assert Row("speed", "MB/s", 400.0, "peer", 200.0, "more").ratio == 2
    assert Row("time", "s", 1.0, "peer", 2.0).ratio == 2
    assert Row("time", "s", 1.0).ratio is None


def test_the_table_has_the_newest_measurement_of_each_machine_in_a_row_of_its_own(tools):
    results = tools.results
    found = [
        results.Results("2026-02-01", ONE, {"download": entry(row("cold download", 8.0))}),
        results.Results("2026-01-31", ONE, complete(tools, 2.0)),
        results.Results("2026-01-31", OTHER, complete(tools, 4.0)),
    ]
    text = f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n"
    made = results.with_table(text, found, results.ENGLISH)
    assert made.startswith(f"before\n{results.BEGIN}\n") and made.endswith(f"{results.END}\nafter\n")
    rows = [line.split(" | ") for line in made.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 2 * len(results.SHOWN)
    download = [cells[1:] for cells in rows if "download" in cells[0]]
    assert download == [
        ["Other CPU, 2 cores, AVX-512", "4 s", "peer 1.0: 1", "0.25 |"],
        ["Some CPU @ 2.0GHz, 2 cores, AVX2", "8 s", "peer 1.0: 1", "0.12 |"],
    ]
    chinese = results.with_table(text, found, results.CHINESE)
    assert "| Some CPU @ 2.0GHz，2 核，AVX2 | 8 秒 | peer 1.0：1 | 0.12 |" in chinese
    assert results.with_table(made, found, results.ENGLISH) == made


def test_the_readme_stays_as_it_is_while_a_row_was_measured_nowhere_or_without_a_peer(tools):
    results = tools.results
    text, found = f"{results.BEGIN}\nold\n{results.END}\n", complete(tools)
    assert results.with_table(text, [], results.ENGLISH) == text
    found["warm_load"] = entry(row("load from the cache", 1.0, None, None))
    assert results.with_table(text, [results.Results("2026-01-31", ONE, found)], results.ENGLISH) == text
    with pytest.raises(DataError, match="once each"):
        results.with_table("no marks", [], results.ENGLISH)


def test_complete_results_replace_the_table_of_both_readmes_by_the_same_numbers(tools, tmp_path):
    results = tools.results
    for name in ("README.md", "README_CN.md"):
        shutil.copy(ROOT / name, tmp_path)
    results.Results("2026-01-31", ONE, complete(tools, 3.0)).write(tmp_path / "results")
    assert results.write_readmes(tmp_path, tmp_path / "results") == []
    found = []
    for name in ("README.md", "README_CN.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        inside = text[text.index(results.BEGIN) : text.index(results.END)]
        assert text.replace(inside, "") != text and inside.count("| 0.33 |") == len(results.SHOWN)
        found.append(re.findall(r"\d[\d.]*|`[^`]+`", inside))
    assert found[0] == found[1]
    (tmp_path / "results" / "2026-02-01-x.json").write_text("{")
    with pytest.raises(DataError, match="2026-02-01-x.json"):
        results.write_readmes(tmp_path, tmp_path / "results")


def test_what_is_measured_again_on_the_same_day_takes_the_place_of_the_earlier_alone(tools, tmp_path):
    results = tools.results
    path = results.Results("2026-01-31", ONE, {"load": entry(row("a")), "index": entry(row("b"))}).write(tmp_path)
    assert path.name == "2026-01-31-some-cpu-2-0ghz-2-cores.json"
    results.Results("2026-01-31", ONE, {"load": entry(row("c"))}).write(tmp_path)
    assert {name: one["rows"][0]["what"] for name, one in results.read(path).benchmarks.items()} == {
        "index": "b",
        "load": "c",
    }
    results.Results("2026-02-01", ONE, {"load": entry(row("d"))}).write(tmp_path)
    assert [one.date for one in results.read_all(tmp_path)] == ["2026-01-31", "2026-02-01"]


@pytest.mark.parametrize(
    "change, where",
    [
        (lambda top: top.update(schema="glorext.benchmarks/2"), "schema"),
        (lambda top: top["machine"].pop("avx"), "avx"),
        (lambda top: top["benchmarks"]["load"]["rows"][0].update(glorext="fast"), "glorext"),
        (lambda top: top["benchmarks"]["load"].update(smoke=True), "smoke"),
    ],
)
def test_a_file_that_is_no_result_is_refused_by_its_field(change, where, tools, tmp_path):
    path = tools.results.Results("2026-01-31", ONE, {"load": entry(row("a"))}).write(tmp_path)
    top = json.loads(path.read_text())
    change(top)
    path.write_text(json.dumps(top))
    with pytest.raises(DataError, match=where):
        tools.results.read_all(tmp_path)


GOOD = """
from measured import Row, hand_over, options
parser = options("Claim: it works.")
hand_over(parser.parse_args(), "Claim: it works.", [Row("a", "s", 1.0, "peer", 3.0)])
"""


@pytest.fixture
def bench(tmp_path):
    """Call it with flags: run.py of a checkout with the benchmarks `good` and `bad`, which fails."""
    root = tmp_path / "checkout"
    (root / "benchmarks").mkdir(parents=True)
    for name in ("run.py", "results.py", "measured.py"):
        shutil.copy(BENCHMARKS / name, root / "benchmarks")
    for name in ("README.md", "README_CN.md"):
        shutil.copy(ROOT / name, root)
    (root / "benchmarks" / "bench_good.py").write_text(GOOD)
    (root / "benchmarks" / "bench_bad.py").write_text("raise SystemExit('broken')")

    def start(*flags):
        words = [sys.executable, str(root / "benchmarks" / "run.py"), *flags]
        return root, subprocess.run(words, capture_output=True, text=True)

    return start


def test_a_benchmark_that_fails_is_named_and_takes_nothing_from_the_others(bench, tools):
    root, done = bench("--no_peers")
    assert done.returncode == 1 and "failed: bad" in done.stderr and "broken" in done.stderr
    (found,) = tools.results.read_all(root / "benchmarks" / "results")
    assert found.machine["cores"] == len(os.sched_getaffinity(0)) and found.machine["memory_gb"] > 0
    assert list(found.benchmarks) == ["good"]
    assert found.benchmarks["good"]["rows"] == [
        {"what": "a", "unit": "s", "better": "less", "glorext": 1.0, "peer": "peer", "peer_value": 3.0, "ratio": 3.0}
    ]
    assert "the readmes keep their table until" in done.stdout
    assert (root / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()


def test_what_is_named_runs_and_smoke_keeps_nothing(bench):
    root, done = bench("--only", "good", "--smoke")
    assert done.returncode == 0, done.stderr
    assert "== good" in done.stdout and "bad" not in done.stdout
    assert not (root / "benchmarks" / "results").exists() and not (root / "build").exists()
    _, done = bench("--only", "good,best")
    assert done.returncode == 2 and "found best" in done.stderr and "bad, good" in done.stderr


def test_peers_that_cannot_be_installed_are_named_and_are_tried_again(tools, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("glorext-has-no-such-peer==1.0\n")
    with pytest.raises(SetupError, match=r"glorext-has-no-such-peer.*--no_peers"):
        tools.run.peers(tmp_path / "peers", wanted)
    assert not (tmp_path / "peers" / "installed").exists()
    with pytest.raises(UsageError, match="--only"):
        tools.run.wanted("nothing")
