"""Which registry gives a name: mirrors that cannot be asked, names bound to a registry, names that are built in."""

from dataclasses import replace

import pytest

from glorext import hub
from glorext.hub.find import IDENTITY, find_model
from glorext.hub.listing import offers
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.hub.sources import Sources, parse_source
from glorext.runtime import DownloadError, NotFoundError, RegistryError, UsageError, cli

from .samples import DETAILS

DEAD = "http://127.0.0.1:9"


@pytest.fixture
def offer(run, tmp_path):
    """Call it: a registry folder with packages of these names, whose summary says where they come from."""

    def make(folder, *names):
        for name in names:
            pack(run, tmp_path / folder / name, replace(DETAILS, name=name, summary=f"from {folder}"))
            publish(tmp_path / folder / name, tmp_path / f"{folder}-registry")
        return tmp_path / f"{folder}-registry"

    return make


@pytest.mark.parametrize("fault", ["not mounted", "refused", "cut index"])
def test_a_mirror_that_cannot_be_asked_is_passed_over(quick, registry, tmp_path, caplog, fault):
    mirror = DEAD if fault == "refused" else str(tmp_path / "mnt")
    if fault == "cut index":
        (tmp_path / "mnt").mkdir()
        (tmp_path / "mnt/index.json").write_bytes((registry / "index.json").read_bytes()[:-20])
    searched = [f"mirror:{mirror}", str(registry)]
    assert hub.resolve("tiny-digits", registry=searched).source == str(registry)
    assert hub.info("tiny-digits", registry=searched)["registry"] == str(registry)
    assert mirror in caplog.text
    with pytest.raises(NotFoundError, match=f"{mirror}: not asked"):
        hub.resolve("nothing", registry=searched)
    for ask in (hub.resolve, hub.info):
        with pytest.raises((DownloadError, RegistryError), match=mirror):
            ask("tiny-digits", registry=f"mirror:{mirror}")
        with pytest.raises((DownloadError, RegistryError), match=mirror):
            ask("tiny-digits", registry=[mirror, str(registry)])


def test_bound_names_come_from_their_registry_only(offer, monkeypatch, tmp_path):
    ours, public = offer("ours", "acme-digits", "tool"), offer("public", "acme-digits", "acme-new", "tool")
    monkeypatch.setenv("GLOREXT_REGISTRIES", f"{public},acme-*={ours}")
    assert hub.resolve("acme-digits").summary == "from ours"
    assert hub.resolve("tool").summary == "from public", "a bound registry gives nothing else"
    for ask in (hub.resolve, hub.info):
        with pytest.raises(NotFoundError):
            ask("acme-new")
    assert {(row["name"], row["summary"]) for row in offers()} >= {
        ("acme-digits", "from ours"),
        ("tool", "from public"),
    }
    assert ("acme-new" not in hub.hub_list()) and ("acme-digits", "from public") not in {
        (row["name"], row["summary"]) for row in offers()
    }
    monkeypatch.setenv("GLOREXT_REGISTRIES", f"acme-*={tmp_path / 'gone'},{public}")
    assert hub.resolve("tool").summary == "from public", "nobody asks a registry for what it may not give"
    with pytest.raises(RegistryError, match="gone"):
        hub.resolve("acme-digits")


def test_a_registry_takes_no_built_in_name_unless_it_is_told(offer, monkeypatch, caplog, capsys, tmp_path):
    theirs = offer("theirs", "resnext50")
    assert cli.main(["publish", str(tmp_path / "theirs/resnext50"), "--to", str(theirs)]) == 0
    assert f"GLOREXT_REGISTRIES=resnext50={theirs} python" in capsys.readouterr().out
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(theirs))
    assert find_model("resnext50", wanted=IDENTITY).source == hub.info("resnext50")["registry"] == "built in"
    rows = [row for row in offers() if row["name"] == "resnext50"]
    assert [row["registry"] for row in rows] == ["built in"] and "resnext50=ADDRESS" in caplog.text
    with pytest.raises(NotFoundError, match="resnext50=ADDRESS"):
        find_model("resnext50@7.0.0", wanted=IDENTITY)
    assert hub.resolve("resnext50", registry=theirs).summary == "from theirs", "named in the call"
    for names in ("resnext50", "resnext*"):
        monkeypatch.setenv("GLOREXT_REGISTRIES", f"{names}={theirs}")
        assert hub.resolve("resnext50").summary == hub.info("resnext50")["summary"] == "from theirs"


def test_the_forms_of_an_entry(tmp_path):
    for entry, mirror, names, location in (
        ("https://h/r?sig=a=b", False, None, "https://h/r"),
        ("acme-*=https://h/r?sig=a=b", False, "acme-*", "https://h/r"),
        ("mirror:acme=/r", True, "acme", "/r"),
        ("mirror:/a=b", True, None, "/a=b"),
        (tmp_path / "a=b", False, None, str(tmp_path / "a=b")),
    ):
        source = parse_source(entry)
        assert (source.mirror, source.names, source.location) == (mirror, names, location)
    for entry in ("acme-*=mirror:/r", "acme=", "mirror:", "ACME-*=https://h"):
        with pytest.raises(UsageError, match="a registry"):
            parse_source(entry)
    assert Sources.of(["*=/all", "/rest"]).holding("x")[0][0].location == "/all"
