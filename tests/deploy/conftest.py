"""What the tests of deployment share: the built programs, and one tiny network with everything made from it."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from .made import trained

TINY = {"layers": (1, 1, 1, 1), "groups": 4, "width_per_group": 4, "stem_width": 16, "num_classes": 10}
SIZE = 32


@pytest.fixture(scope="session")
def native():
    """The C++ programs with .root, .infer and .convert; built in the real cache, since building takes a while."""
    from types import SimpleNamespace

    from glorext.deploy.runners.programs import build

    if missing := [name for name in ("g++", "cmake") if shutil.which(name) is None]:
        pytest.skip(f"no {' and no '.join(missing)} on this machine")
    programs = build()
    return SimpleNamespace(root=programs.lite.root, infer=programs.infer, convert=programs.convert, programs=programs)


@pytest.fixture(scope="session")
def ascendcl(native, tmp_path_factory):
    """The folder with the stand-in for AscendCL: libascendcl.so and CANN's other libraries, empty ones."""
    if native.programs.lite.version != "2.0.0":
        pytest.skip("the stand-in has the functions that the plugin of MindSpore Lite 2.0.0 takes")
    folder = tmp_path_factory.mktemp("ascendcl")
    for step in (["-S", str(Path(__file__).parent / "ascendcl"), "-B", str(folder)], ["--build", str(folder)]):
        done = subprocess.run(["cmake", *step], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def core(tmp_path_factory):
    """The folder of a build of everything that needs no MindSpore Lite, with AddressSanitizer and UBSan."""
    from glorext.deploy.runners.programs import sources
    from glorext.deploy.runners.system_packages import BUILDING, install

    headers = ("/usr/include", "/usr/local/include", *os.environ.get("CPATH", "").split(":"))
    if None in (shutil.which("cmake"), shutil.which("g++")) or not any(
        (Path(folder) / "doctest" / "doctest.h").is_file() for folder in headers
    ):
        pytest.skip(f"no compiler or no doctest: {install(*BUILDING, 'doctest-dev')}")
    base = tmp_path_factory.getbasetemp()
    # The processes of one run build it once: what is there already, cmake leaves as it is.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "core"
    options = ["-DGLOREXT_TESTS=ON", "-DGLOREXT_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug"]
    with FileLock(f"{folder}.lock"):
        for step in (
            ["cmake", "-S", str(sources()), "-B", str(folder), *options],
            ["cmake", "--build", str(folder), "--parallel", "2"],
        ):
            done = subprocess.run(step, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            assert "warning:" not in done.stderr
    return folder


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A tiny ResNeXt with weights in which nothing is zero or one, so that every layer moves the logits."""
    import mindspore as ms

    from glorext.models import InputSpec, create, save_checkpoint, weights_digest
    from glorext.runtime import set_device

    set_device("CPU")
    generator = np.random.default_rng(7)
    ms.set_seed(7)
    net = create("resnext50", **TINY)
    for parameter in net.get_parameters():
        scale = 1 if parameter.ndim > 1 else 0.3
        value = parameter.asnumpy() * scale + generator.normal(0, 0.1, parameter.shape)
        parameter.set_data(ms.Tensor((np.abs(value) + 0.3 if "variance" in parameter.name else value).astype("f4")))
    path = tmp_path_factory.mktemp("source") / "tiny.ckpt"
    save_checkpoint(net, path)
    arguments = {key: value for key, value in TINY.items() if key != "num_classes"}
    return trained(
        path,
        tuple("0123456789"),
        name="tiny",
        network_args=arguments,
        input_spec=InputSpec(size=SIZE, resize=SIZE),
        weights_sha256=weights_digest(path),
    )


@pytest.fixture(scope="session")
def exported(source, tmp_path_factory):
    """The folder with the tiny network as MINDIR and ONNX with a dynamic batch."""
    from glorext.deploy.export.exporter import export

    folder = tmp_path_factory.mktemp("exported")
    export(source, folder)
    return folder


@pytest.fixture(scope="session")
def converted(exported, native, tmp_path_factory):
    """The folder with the tiny network as converted by MindSpore Lite, .mindir and .ms."""
    from glorext.deploy.convert.converter import convert

    folder = tmp_path_factory.mktemp("converted")
    convert(exported / "tiny.mindir", folder, programs=native.programs)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """40 pictures of noise in ten class folders, PNG and JPEG."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(3)
    for number in range(40):
        path = folder / str(number % 10) / f"{number:02d}.{'png' if number % 3 else 'jpg'}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(path)
    return folder


@pytest.fixture(scope="session")
def by_mindspore(source, pictures, tmp_path_factory):
    """What MindSpore answers to `pictures`, as `glorext validate --reference` has it."""
    from glorext.deploy.runners.common import Request
    from glorext.deploy.validate.backends import prepare
    from glorext.train.data import list_pictures

    return prepare(source, Request("mindspore"), tmp_path_factory.mktemp("reference"))(
        list_pictures(pictures, source.labels)
    )
