"""One tiny network taken the whole way by the commands a user types; every test looks at a part of what it left."""

from types import SimpleNamespace

import pytest

from glorext.runtime.cli import main

NAME = "tiny-digits"
RECIPE = """\
network: resnext50
network_args: {layers: [1, 1, 1, 1], groups: 4, width_per_group: 4, stem_width: 16}
input: {size: 32, resize: 32, resize_rule: squash, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
augmentation: none
batch_size: 32
epochs: 3
lr: 0.1
lr_scheduler: linear
warmup_epochs: 1
label_smooth_factor: 0.1
seed: 1
"""


def glorext(*words):
    """Run a command in this process; its exit status."""
    return main([str(word) for word in words])


@pytest.fixture(scope="session")
def _way(tmp_path_factory):
    pytest.importorskip("sklearn", reason="scikit-learn ships the digits")
    from glorext.train import digits

    folder = tmp_path_factory.mktemp("way")
    environment = {"GLOREXT_REGISTRIES": str(folder / "registry"), "GLOREXT_OFFLINE": "1"}
    way = SimpleNamespace(
        folder=folder,
        name=NAME,
        data=folder / "data",
        run=folder / "run",
        registry=folder / "registry",
        package=folder / "package",
        mindspore=folder / "mindspore",
        environment=environment,
    )
    digits.main([str(way.data)])
    (folder / "tiny.yaml").write_text(RECIPE)
    steps = [
        (
            "train",
            "--recipe",
            folder / "tiny.yaml",
            "--data_dir",
            way.data / "train",
            "--val_dir",
            way.data / "val",
            "--device_target",
            "CPU",
            "--out",
            way.run,
        ),
        ("eval", way.run, "--data_dir", way.data / "val", "--out", way.run / "eval.json", "--results", way.mindspore),
        ("pack", way.run, "--name", NAME, "--version", "1.0.0", "--out", way.package),
        ("publish", way.package, "--to", way.registry),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for step in steps:
            assert glorext(*step) == 0, step
    return way


@pytest.fixture(scope="module")
def way(_way):
    """Data, run, package and registry of a tiny ResNeXt on the digits; the registry is the one that is searched."""
    with pytest.MonkeyPatch.context() as patch:  # until the module's end: another file's tests come next
        for name, value in _way.environment.items():
            patch.setenv(name, value)
        yield _way
