"""From a short name to a ready network: names, registries in order, the official signatures, published checkpoints."""

import inspect
import shutil
from dataclasses import replace

import numpy as np
import pytest

import mindspore_hub
from glorext import hub, models
from glorext.hub.builtin import published_checkpoints, read_published
from glorext.hub.manifest import read_manifest
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.runtime import (
    CheckpointError,
    DownloadError,
    IntegrityError,
    NotFoundError,
    PackageError,
    RegistryError,
    UsageError,
    read_json,
    sha256_bytes,
    sha256_file,
    write_json,
)

from .samples import ARGUMENTS, DETAILS, LABELS


@pytest.fixture
def here(registry, monkeypatch):
    """The test's registry folder, in GLOREXT_REGISTRIES."""
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(registry))
    return registry


def same(net, checkpoint):
    weights = models.read_checkpoint(checkpoint).weights
    return all(np.array_equal(parameter.asnumpy(), weights[parameter.name]) for parameter in net.get_parameters())


def test_load_in_a_fresh_process_gives_the_network_with_its_weights(here, run, python):
    code, out, err = python("""
import mindspore_hub, mindspore as ms
net = mindspore_hub.load("tiny-digits")
from glorext import models
print(net.training, net(ms.ops.ones((2, 3, 32, 32))).shape, models.weights_digest(net))""")
    assert code == 0, err
    assert out.strip() == f"False (2, 10) {models.weights_digest(run / 'best.ckpt')}"


@pytest.mark.parametrize("name", ["tiny-digits", "tiny-digits@1.0.0"])
def test_load_by_name_and_version(here, run, name):
    assert same(hub.load(name), run / "best.ckpt")


def test_load_over_http_then_offline(server, url, run, monkeypatch):
    assert same(hub.load("tiny-digits"), run / "best.ckpt")
    fetched = {path.rsplit("/", 1)[-1] for path, _ in server.requests}
    assert fetched == {"index.json", "manifest.json", "tiny-digits.ckpt", "labels.txt"}, "load fetches what it needs"
    server.close()
    monkeypatch.setenv("GLOREXT_OFFLINE", "1")
    assert same(hub.load("tiny-digits"), run / "best.ckpt")


def test_load_from_a_folder_and_beside_a_card(package, run):
    assert same(hub.load(package), run / "best.ckpt")
    assert same(hub.load(str(package / "card.md"), source="local"), run / "best.ckpt")
    with pytest.raises(PackageError, match="no such file or folder"):
        hub.load("tiny-digits", source="local")


def test_without_pretrained_weights_none_are_fetched(server, url, run):
    net = hub.load("tiny-digits", pretrained=False)
    assert not same(net, run / "best.ckpt") and net.training is False
    assert server.count("tiny-digits.ckpt") == 0


def test_another_number_of_classes_needs_a_word(here, run):
    with pytest.raises(CheckpointError, match='head="new"'):
        hub.load("tiny-digits", num_classes=3)
    net = hub.load("tiny-digits", num_classes=3, head="new")
    assert net.head.fc.weight.shape[0] == 3


def test_positional_arguments_go_to_the_constructor(here):
    net = hub.load("tiny-digits", (1, 1, 2, 1), pretrained=False)
    assert len(net.backbone.layer3) == 2
    with pytest.raises(UsageError, match="ResNeXt"):
        hub.load("tiny-digits", *range(30))


def test_load_weights_gives_parameters_by_name(here, run, package):
    import mindspore as ms

    net = models.create("resnext50", num_classes=10, **ARGUMENTS)
    for weights in (hub.load_weights("tiny-digits"), hub.load_weights(str(package / "card.md"), source="local")):
        assert ms.load_param_into_net(net, weights) == ([], [])
        assert same(net, run / "best.ckpt")
    with pytest.raises(UsageError):
        hub.load_weights("tiny-digits", source="gitlab")


def test_official_signatures_and_defaults():
    def signature(function):
        return [
            (name, part.default)
            for name, part in inspect.signature(function).parameters.items()
            if part.kind not in (part.VAR_POSITIONAL, part.VAR_KEYWORD)
        ]

    empty = inspect.Parameter.empty
    assert signature(mindspore_hub.load) == [
        ("name", empty),
        ("source", "gitee"),
        ("pretrained", True),
        ("force_reload", False),
    ]
    assert signature(mindspore_hub.load_weights) == [("name", empty), ("source", "gitee"), ("force_reload", False)]
    assert [name for name, _ in signature(mindspore_hub.set_hub_dir)] == ["dir_path"]
    assert signature(mindspore_hub.hub_list) == [("version", None), ("force_reload", False)]
    assert mindspore_hub.list is mindspore_hub.hub_list
    assert {"load", "load_weights", "list", "hub_list", "info", "set_hub_dir", "get_hub_dir"} <= set(dir(mindspore_hub))


@pytest.mark.parametrize(
    "call",
    [
        lambda: hub.load(5),
        lambda: hub.load("tiny-digits", pretrained=1),
        lambda: hub.load("tiny-digits", force_reload="yes"),
        lambda: hub.load("tiny-digits", source="gitlab"),
        lambda: hub.load("tiny-digits", color="red", pretrained=False),
    ],
)
def test_wrong_arguments_are_usage_errors(here, call):
    with pytest.raises(UsageError):
        call()


def test_importing_the_client_does_not_import_mindspore(python):
    code, _, err = python("import mindspore_hub, sys; assert 'mindspore' not in sys.modules")
    assert code == 0, err


def test_hub_dir_is_where_everything_goes(server, url, tmp_path):
    hub.set_hub_dir(tmp_path / "mine")
    try:
        assert hub.get_hub_dir() == str(tmp_path / "mine")
        assert str(hub.resolve("tiny-digits").folder).startswith(str(tmp_path / "mine"))
        assert not (tmp_path / "cache").exists()
    finally:
        hub.set_hub_dir()
    assert hub.get_hub_dir() == str(tmp_path / "cache" / "hub")


def test_resolve_gives_what_deployment_needs(here):
    package = hub.resolve("tiny-digits")
    assert package.labels == tuple(LABELS) and package.num_classes == 10
    assert package.input_spec == models.InputSpec(size=32, resize=32)
    assert package.network_args == ARGUMENTS
    assert (
        sha256_file(package.checkpoint)
        == read_manifest(here / "packages/tiny-digits/1.0.0").files["tiny-digits.ckpt"].sha256
    )


def test_every_file_is_hashed_again_by_resolve(here):
    file = here / "packages/tiny-digits/1.0.0/card.md"
    file.write_bytes(file.read_bytes().replace(b"98.00", b"99.99"))
    with pytest.raises(IntegrityError, match="card.md"):
        hub.resolve("tiny-digits")


def test_unknown_names_say_where_was_looked(here):
    with pytest.raises(NotFoundError) as caught:
        hub.load("nothing")
    assert str(here) in str(caught.value) and "glorext list" in str(caught.value)
    with pytest.raises(NotFoundError, match="only 1.0.0"):
        hub.load("tiny-digits@9.9.9")


def test_registries_are_searched_in_order(here, run, tmp_path, monkeypatch):
    pack(run, tmp_path / "new", replace(DETAILS, version="1.10.0"))
    publish(tmp_path / "new", tmp_path / "second")
    monkeypatch.setenv("GLOREXT_REGISTRIES", f"{here}, {tmp_path / 'second'}")
    assert hub.resolve("tiny-digits").version == "1.0.0"
    assert hub.resolve("tiny-digits@1.10.0").source == str(tmp_path / "second")
    assert hub.resolve("tiny-digits", registry=tmp_path / "second").version == "1.10.0"


def test_a_registry_that_fails_is_not_replaced_by_the_built_in_one(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOREXT_REGISTRIES", f"resnext50={tmp_path / 'gone'}")
    with pytest.raises(RegistryError, match="gone"):
        hub.load("resnext50")
    assert hub.load("mindspore/1.10/resnext50_imagenet2012", pretrained=False)
    monkeypatch.setenv("GLOREXT_REGISTRIES", f"{tmp_path / 'gone'},{tmp_path / 'lost'}")
    with pytest.raises(RegistryError, match="gone.*No other registry was asked"):
        hub.load("digits")


def test_newest_version_is_by_number_and_a_new_one_is_seen(server, url, run, registry, tmp_path, monkeypatch):
    assert hub.resolve("tiny-digits").version == "1.0.0"
    for version in ("1.9.0", "1.10.0"):
        pack(run, tmp_path / version, replace(DETAILS, version=version))
        publish(tmp_path / version, registry)
    assert hub.resolve("tiny-digits").version == "1.0.0", "the index is fresh"
    assert hub.resolve("tiny-digits@1.9.0").version == "1.9.0", "an unknown version asks again"
    assert hub.resolve("tiny-digits", force_reload=True).version == "1.10.0"
    assert server.count("tiny-digits.ckpt") == 1, "the same bytes are fetched once"


def test_list_and_info_tell_measured_from_published(here):
    assert hub.hub_list() == sorted(["tiny-digits", *(entry.name for entry in published_checkpoints())])
    assert hub.hub_list("1.0.0") == ["tiny-digits"]
    assert hub.info("tiny-digits")["evidence"] == "measured"
    official = hub.info("mindspore/1.10/resnext50_imagenet2012")
    assert official["name"] == "resnext50" and "not measured here" in official["evidence"]
    with pytest.raises(NotFoundError):
        hub.info("nothing")


# name, digest, end of the address, versions of the cards with these bytes, their name: what the cards say
PUBLISHED = [
    (
        "resnext50",
        "22857131a4cc5186af07582907888c7cf0d8361aeb78545ca20bace4e8f3961e",
        "r1.10/resnext50_ascend_v1100_imagenet2012_official_cv_top1acc78.51_top5acc94.18.ckpt",
        ["1.3", "1.5", "1.6", "1.7", "1.8", "1.9", "1.10"],
        "resnext50",
    ),
    (
        "resnext50_32x4d",
        "988f75bc",
        "mindcv/resnext/resnext50_32x4d-988f75bc-910v2.ckpt",
        ["2.3", "2.5"],
        "resnext50_32x4d",
    ),
    (
        "resnext101_32x4d",
        "a0d4a10034b4919f07a09bf9658e4869623b3470a5fbb0a00a55321ea64e9da2",
        "r1.10/resnext101_ascend_v1100_imagenet2012_official_cv_top1acc79.46_top5acc94.63.ckpt",
        ["1.9", "1.10"],
        "resnext101",
    ),
    (
        "glore_res50",
        "b2ee8e5bdf5059b9229d539c485c8da1437b23c7b5554970808ca99610631efd",
        "r1.6/gloreres50_ascend_v160_imagenet2012_research_cv_top1acc78.33_top5acc94.02.ckpt",
        ["1.3", "1.5", "1.6"],
        "gloreres50",
    ),
    (
        "glore_res200",
        "106bba976cc6f7d5d59a74a63062d5600165090763fcfebc96af507b15c24dfb",
        "r1.6/gloreres200_ascend_v160_imagenet2012_research_cv_top1acc79.94_top5acc94.89.ckpt",
        ["1.3", "1.5", "1.6"],
        "gloreres200",
    ),
]
OLD_FORM = {
    "glore_res50": "mindspore/ascend/1.3/gloreres50_v1.3_imagenet2012",
    "glore_res200": "mindspore/ascend/1.3/gloreresnet200_v1.3_imagenet2012",
}


@pytest.mark.parametrize("name, digest, address, cards, card", PUBLISHED)
def test_published_checkpoints_are_known_by_name_and_uid(name, digest, address, cards, card):
    (entry,) = [entry for entry in published_checkpoints() if entry.name == name]
    assert (entry.sha256 or entry.sha256_prefix) == digest and entry.url.startswith("https://download")
    assert entry.url.endswith(f"/{address}")
    uids = {f"mindspore/{version}/{card}_imagenet2012" for version in cards} | {OLD_FORM.get(name)} - {None}
    assert set(entry.uids) == uids
    for uid in uids:
        found = hub.info(uid)
        assert (found["name"], found["network"]) == (name, entry.network)
    published = {round(result.top1, 4) for result in models.spec(entry.network).published}
    assert round(entry.top1, 4) in published, "card and ModelSpec must quote the same number"


@pytest.fixture(scope="session")
def split_checkpoint(tmp_path_factory):
    """A full-size ResNeXt50 in the split layout of the published checkpoint, random weights, 101 MB."""
    path = tmp_path_factory.mktemp("official") / "resnext50_ascend.ckpt"
    models.save_checkpoint(models.create("resnext50"), path, naming="split")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("known", ["whole digest", "8 digits"])
def test_published_checkpoints_load_in_the_layout_they_have(
    split_checkpoint, server, registry, monkeypatch, caplog, known
):
    shutil.copy(split_checkpoint, registry / "resnext50_ascend.ckpt")
    digest = sha256_file(split_checkpoint)
    entry = replace(
        next(entry for entry in published_checkpoints() if entry.name == "resnext50"),
        url=f"{server.url}/resnext50_ascend.ckpt",
        sha256=digest if known == "whole digest" else None,
        sha256_prefix=digest[:8] if known == "8 digits" else None,
    )
    monkeypatch.setattr("glorext.hub.find.published_checkpoints", lambda: (entry,))
    net = hub.load("mindspore/1.10/resnext50_imagenet2012")
    assert models.weights_digest(net) == models.weights_digest(split_checkpoint)
    assert ("publishes only 8 digits" in caplog.text) == (known == "8 digits")
    hub.load("resnext50")
    assert server.count("resnext50_ascend.ckpt") == 1


@pytest.mark.parametrize(
    "address",
    [
        "https://gitee.com/mindspore/hub/blob/master/mshub_res/assets/mindspore/1.10/resnext50_imagenet2012.md",
        "https://hub.mindspore.com/mindspore/1.10/resnext50_imagenet2012",
    ],
)
def test_addresses_of_official_cards_mean_their_uid(address):
    net = hub.load(address, pretrained=False)
    assert net.head.fc.weight.shape == (1000, 2048)
    with pytest.raises(UsageError, match="GLOREXT_REGISTRIES"):
        hub.load(address.replace("resnext50", "alexnet"))


def test_published_checkpoint_with_other_bytes_is_refused(server, registry, monkeypatch, cache):
    (registry / "weights.ckpt").write_bytes(b"something else")
    entry = replace(published_checkpoints()[0], url=f"{server.url}/weights.ckpt")
    monkeypatch.setattr("glorext.hub.find.published_checkpoints", lambda: (entry,))
    with pytest.raises(IntegrityError):
        hub.load(entry.name)
    assert not list(cache.glob("checkpoints/*")) and not list(cache.glob("blobs/*"))


def test_damaged_published_checkpoint_is_fetched_again_and_a_lost_name_is_not(server, registry, monkeypatch, cache):
    import os

    data = os.urandom(3000)
    (registry / "weights.ckpt").write_bytes(data)
    entry = replace(published_checkpoints()[0], url=f"{server.url}/weights.ckpt", sha256=sha256_bytes(data))
    monkeypatch.setattr("glorext.hub.find.published_checkpoints", lambda: (entry,))
    path = hub.resolve(entry.name).checkpoint
    assert path.name == "weights.ckpt" and path.read_bytes() == data
    path.unlink()
    assert hub.resolve(entry.name).checkpoint.read_bytes() == data
    assert server.count("weights.ckpt") == 1
    os.chmod(path, 0o644)
    path.write_bytes(b"damage")
    assert hub.resolve(entry.name).checkpoint.read_bytes() == data
    assert server.count("weights.ckpt") == 2


def test_offline_published_checkpoint_is_a_named_error(monkeypatch):
    monkeypatch.setenv("GLOREXT_OFFLINE", "1")
    with pytest.raises(DownloadError, match="GLOREXT_OFFLINE"):
        hub.load("glore_res50")


def test_every_built_in_file_is_read_strictly(tmp_path):
    from pathlib import Path

    import glorext.hub.builtin as module

    value = read_json(next((Path(module.__file__).parent / "builtin_models").glob("*.json")))
    file = tmp_path / "model.json"
    write_json(file, {key: item for key, item in value.items() if key != "url"})
    with pytest.raises(RegistryError, match="url"):
        read_published(file)
    write_json(file, value | {"sha256": None, "sha256_prefix": None})
    with pytest.raises(RegistryError, match="both or none"):
        read_published(file)
