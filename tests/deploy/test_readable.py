"""Whether MindSpore Lite reads a MINDIR is its own answer, asked once for each converter and each MindSpore."""

import dataclasses
import json

import pytest

from glorext.deploy.contract.artifact import read_artifact
from glorext.deploy.convert import readable
from glorext.deploy.convert.converter import convert
from glorext.deploy.runners.find_lite import Lite
from glorext.runtime import ConversionError, env

pytestmark = pytest.mark.native


@pytest.fixture
def asked(native, exported, tmp_path, monkeypatch):
    """Asks with an empty memory, of the real converter under another version; what was asked of it is in `.models`."""
    monkeypatch.setenv("GLOREXT_CACHE", str(tmp_path / "cache"))
    source, run, models = read_artifact(exported / "tiny.mindir"), readable.run_converter, []

    def running(model, *rest):
        models.append(model.stem)
        return run(model, *rest)

    def ask(version="2.0.0", programs=native.programs):
        monkeypatch.setattr(readable, "run_converter", running)
        return readable.reads_mindir(
            source, dataclasses.replace(programs, lite=dataclasses.replace(programs.lite, version=version))
        )

    ask.models = models  # type: ignore[attr-defined]
    return ask


@pytest.mark.parametrize("version", ["2.0.0", "2.9.9", "unknown"])
def test_what_a_mindspore_lite_reads_does_not_depend_on_what_it_calls_itself(asked, native, tmp_path, version):
    if native.programs.lite.version != "2.0.0":
        pytest.skip("what another MindSpore Lite reads is not known here")
    assert asked(version) is False and asked.models == ["probe", "old"]
    assert asked("another") is False and asked.models == ["probe", "old"], "it is asked once"
    (file,) = (env.cache_dir() / "mindspore_lite" / "mindir").iterdir()
    told = json.loads(file.read_text())
    assert not told["reads"] and "could not convert probe.mindir" in told["said"]


def test_a_mindir_that_is_read_as_it_is_is_not_rewritten(asked, monkeypatch):
    # The probe as version 1 is what this MindSpore Lite reads.
    write = readable.write_probe

    def as_old(path):
        write(path)
        readable.mindir.rewrite(path, path)

    monkeypatch.setattr(readable, "write_probe", as_old)
    assert asked() is True and asked.models == ["probe"]


def test_a_converter_that_cannot_work_is_not_taken_for_one_that_refuses(asked, native, tmp_path):
    broken = tmp_path / "glorext_convert"
    broken.write_text("#!/bin/sh\necho error: no library >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(ConversionError, match="no library"):
        asked(programs=dataclasses.replace(native.programs, convert=broken))
    assert asked.models == ["probe", "old"] and not list(tmp_path.rglob("mindir/*"))


def test_another_converter_or_mindspore_is_asked_anew(tmp_path, monkeypatch):
    library = tmp_path / "lib" / "libmindspore_converter.so"
    library.parent.mkdir()
    library.write_bytes(b"one")
    lite = Lite(tmp_path, "2.0.0", "")
    places = {readable._memory(lite)}
    library.write_bytes(b"other")
    places.add(readable._memory(lite))
    monkeypatch.setattr(readable.mindspore_versions, "installed", lambda: "2.99.0")
    places.add(readable._memory(lite))
    assert len(places) == 3 and readable.remembered(lite) is None


def test_a_real_conversion_goes_by_the_answer(exported, native, tmp_path, monkeypatch):
    lite = dataclasses.replace(native.programs.lite, version="2.3.1")
    (artifact,) = convert(exported / "tiny.mindir", tmp_path, ["ms"], dataclasses.replace(native.programs, lite=lite))
    assert artifact.versions["mindspore_lite"] == "2.3.1"
