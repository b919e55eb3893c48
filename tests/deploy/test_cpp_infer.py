"""The C++ inference program: the same answers in every arrangement, and a named failure for every bad input."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glorext.deploy.contract.artifact import Port, read_artifact, write_artifact
from glorext.deploy.runners.lite import run_tensor
from glorext.models.answers import read_results
from glorext.models.preprocess import preprocess
from glorext.runtime import InferenceError

pytestmark = pytest.mark.native
MODELS = ("tiny.ms", "tiny_lite.mindir")


@pytest.fixture
def run(native, tmp_path):
    """Run glorext_infer; its exit status, stderr, and the result folder."""

    def call(*arguments, out="out"):
        command = [str(native.infer), *map(str, arguments)]
        command += ["--out", str(tmp_path / out)] if out else []
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode in (0, 1, 2), f"ended by signal {-done.returncode}: {done.stderr}"
        return done.returncode, done.stderr, tmp_path / out if out else done.stdout

    return call


@pytest.fixture(scope="module")
def expected(converted, pictures, native, tmp_path_factory):
    """Paths and logits of the pictures, one at a time by one worker."""
    out = tmp_path_factory.mktemp("expected") / "out"
    subprocess.run(
        [
            str(native.infer),
            "--model",
            str(converted / "tiny.ms"),
            "--images",
            str(pictures),
            "--out",
            str(out),
            "--workers",
            "1",
        ],
        check=True,
        capture_output=True,
    )
    return [entry["path"] for entry in results(out)["pictures"]], np.load(out / "logits.npy")


@pytest.fixture(scope="module")
def fixed(exported, native, tmp_path_factory):
    """The tiny network converted for batches of exactly 4."""
    folder = tmp_path_factory.mktemp("fixed")
    subprocess.run(
        [
            str(native.convert),
            "--fmk",
            "onnx",
            "--model",
            str(exported / "tiny.onnx"),
            "--out",
            str(folder / "four"),
            "--save",
            "ms",
            "--input_shape",
            "image:4,3,32,32",
        ],
        check=True,
        capture_output=True,
    )
    (folder / "four.ms").chmod(0o644)
    origin = read_artifact(exported / "tiny.onnx")
    write_artifact(
        folder / "four.ms",
        format="ms",
        model=origin.model,
        source=None,
        input=Port("image", "float32", (4, 3, 32, 32), "NCHW"),
        output=Port("logits", "float32", (4, 10)),
        labels=origin.labels,
    )
    return folder / "four.ms"


def results(folder):
    return json.loads((folder / "results.json").read_text())


def copy_model(converted, tmp_path, **changes):
    """A copy of the model whose contract has some values changed."""
    shutil.copy(converted / "tiny.ms", tmp_path / "tiny.ms")
    contract = json.loads((converted / "tiny.ms.json").read_text()) | changes
    (tmp_path / "tiny.ms.json").write_text(json.dumps(contract))
    return tmp_path / "tiny.ms"


def test_paths_are_sorted_by_bytes_and_rows_follow_them(expected, pictures):
    paths, logits = expected
    assert paths == sorted(
        (str(file.relative_to(pictures)) for file in pictures.rglob("*") if file.is_file()), key=str.encode
    )
    assert logits.shape == (40, 10) and logits.dtype == np.float32 and np.ptp(logits, axis=0).min() > 0


def test_the_logits_are_mindspores_for_the_same_pictures(source, expected, pictures):
    import mindspore as ms

    paths, logits = expected
    inputs = np.stack([preprocess(pictures / path, source.input_spec) for path in paths])
    wanted = source.create()(ms.Tensor(inputs)).asnumpy()
    assert np.abs(logits - wanted).max() < 1e-3 and (logits.argmax(1) == wanted.argmax(1)).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "arrangement", [("--workers", 2), ("--batch", 7), ("--batch", 64, "--workers", 2), ("--threads", 2)]
)
def test_every_arrangement_gives_the_same_logits(run, converted, pictures, expected, model, arrangement):
    status, errors, out = run("--model", converted / model, "--images", pictures, *arrangement)
    assert status == 0, errors
    paths, logits = expected
    assert [entry["path"] for entry in results(out)["pictures"]] == paths
    assert np.abs(np.load(out / "logits.npy") - logits).max() < 1e-4


def test_a_fixed_batch_is_padded_and_gives_the_same_logits(run, fixed, pictures, expected):
    subset, count = expected[0][:6], 6
    folder = fixed.parent / "six"
    for path in subset:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures / path, folder / path)
    status, errors, out = run("--model", fixed, "--images", folder)
    assert status == 0, errors
    assert results(out)["batch"] == 4 and results(out)["count"] == count
    assert np.abs(np.load(out / "logits.npy") - expected[1][:count]).max() < 1e-4


def test_a_fixed_batch_is_never_resized(run, fixed, pictures):
    status, errors, out = run("--model", fixed, "--images", pictures, "--batch", 8)
    assert status == 2 and "has the fixed batch 4" in errors and not out.exists()


def test_a_channels_last_model_gives_the_same_logits(run, exported, native, pictures, expected, tmp_path):
    subprocess.run(
        [
            str(native.convert),
            "--fmk",
            "onnx",
            "--model",
            str(exported / "tiny.onnx"),
            "--out",
            str(tmp_path / "last"),
            "--save",
            "ms",
            "--input_format",
            "NHWC",
        ],
        check=True,
        capture_output=True,
    )
    origin = read_artifact(exported / "tiny.onnx")
    write_artifact(
        tmp_path / "last.ms",
        format="ms",
        model=origin.model,
        source=None,
        input=origin.input,
        output=origin.output,
        labels=origin.labels,
    )
    _, _, described = run("--model", tmp_path / "last.ms", "--inspect", out=None)
    assert json.loads(described)["inputs"][0]["shape"] == [-1, 32, 32, 3]
    status, errors, out = run("--model", tmp_path / "last.ms", "--images", pictures)
    assert status == 0, errors
    assert np.abs(np.load(out / "logits.npy") - expected[1]).max() < 1e-4


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_model_that_normalizes_by_itself_takes_the_pixels(
    run, exported, native, pictures, expected, tmp_path, layout
):
    onnx = pytest.importorskip("onnx", reason="the graph of this test is edited with onnx")
    model = onnx.load(exported / "tiny.onnx")
    spec = read_artifact(exported / "tiny.onnx").input_spec
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    for node in model.graph.node:
        node.input[:] = ["normalized" if name == "image" else name for name in node.input]
    mean, std = (np.reshape(values, (1, 3, 1, 1)).astype(np.float32) * 255 for values in (spec.mean, spec.std))
    model.graph.initializer.extend(onnx.numpy_helper.from_array(*pair) for pair in ((mean, "mean"), (std, "std")))
    for node in (
        onnx.helper.make_node("Div", ["centered", "std"], ["normalized"]),
        onnx.helper.make_node("Sub", ["pixels", "mean"], ["centered"]),
        onnx.helper.make_node("Cast", ["image"], ["pixels"], to=onnx.TensorProto.FLOAT),
    ):
        model.graph.node.insert(0, node)
    onnx.save(model, tmp_path / "pixels.onnx")
    subprocess.run(
        [
            str(native.convert),
            "--fmk",
            "onnx",
            "--model",
            str(tmp_path / "pixels.onnx"),
            "--out",
            str(tmp_path / "pixels"),
            "--save",
            "ms",
            "--input_format",
            layout,
        ],
        check=True,
        capture_output=True,
    )
    origin = read_artifact(exported / "tiny.onnx")
    shape = origin.input.shape if layout == "NCHW" else (-1, 32, 32, 3)
    write_artifact(
        tmp_path / "pixels.ms",
        format="ms",
        model=dataclasses.replace(origin.model, input_spec=spec),
        source=None,
        input=Port("image", "uint8", shape, layout),
        output=origin.output,
        labels=origin.labels,
    )
    status, errors, out = run("--model", tmp_path / "pixels.ms", "--images", pictures)
    assert status == 0, errors
    assert np.abs(np.load(out / "logits.npy") - expected[1]).max() < 1e-4


@pytest.mark.parametrize("model", MODELS)
def test_a_stored_tensor_gives_the_logits_of_its_pictures(run, source, converted, pictures, expected, tmp_path, model):
    np.save(tmp_path / "input.npy", np.stack([preprocess(pictures / path, source.input_spec) for path in expected[0]]))
    status, errors, out = run("--model", converted / model, "--tensor", tmp_path / "input.npy", "--batch", 16)
    assert status == 0, errors
    assert np.abs(np.load(out / "logits.npy") - expected[1]).max() < 1e-4


def test_an_input_that_is_not_finite_is_left_out_and_named(run, converted, tmp_path):
    inputs = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    inputs[1, 2, 3, 4] = np.nan
    np.save(tmp_path / "input.npy", inputs)
    status, errors, out = run("--model", converted / "tiny.ms", "--tensor", tmp_path / "input.npy")
    assert status == 1 and "1 of the 3 inputs are broken" in errors
    assert results(out)["failed"] == [{"path": "00000001", "error": "the input is not finite"}]
    assert np.load(out / "logits.npy").shape == (2, 10)


@pytest.fixture
def mixed(tmp_path):
    """Two good pictures, three broken ones, a hidden file."""
    folder = tmp_path / "mixed"
    (folder / "a").mkdir(parents=True)
    Image.new("RGB", (32, 32), (200, 10, 30)).save(folder / "a" / "good.png")
    Image.new("RGB", (90, 50), (20, 100, 30)).save(folder / "z.jpg")
    (folder / "a" / "cut.png").write_bytes((folder / "a" / "good.png").read_bytes()[:60])
    (folder / "b.txt").write_text("not a picture")
    (folder / "c.jpg").write_bytes(b"")
    (folder / ".thumbs").write_bytes(b"x")
    return folder


def test_broken_pictures_are_listed_and_fail_the_run(run, converted, mixed):
    status, errors, out = run("--model", converted / "tiny.ms", "--images", mixed)
    assert status == 1 and "3 of the 5 inputs are broken" in errors
    found = results(out)
    assert [entry["path"] for entry in found["pictures"]] == ["a/good.png", "z.jpg"] and found["count"] == 2
    assert {entry["path"]: entry["error"] for entry in found["failed"]} == {
        "a/cut.png": "damaged PNG: the file is cut off",
        "b.txt": "no picture by its name: .jpg, .jpeg or .png",
        "c.jpg": "the file is empty",
    }
    assert np.load(out / "logits.npy").shape == (2, 10)


def test_what_the_program_writes_is_read_names_that_are_not_utf8_too(run, converted, mixed, tmp_path):
    (mixed / "z.jpg").rename(mixed / "caf\udce9.jpg")
    (mixed / "b.txt").rename(mixed / "\udcff.txt")
    # A mean with all its digits: with fewer, the results would be those of another model.
    contract = json.loads((converted / "tiny.ms.json").read_text())
    spec = contract["model"]["input_spec"] | {"mean": [0.49139967861519607, 0.5, 1e-7]}
    model = copy_model(converted, tmp_path, model=contract["model"] | {"input_spec": spec})
    status, errors, out = run("--model", model, "--images", mixed, "--allow_broken")
    assert status == 0 and r'broken: "\udcff.txt": no picture by its name' in errors
    found = read_results(out)
    assert found.paths == ["a/good.png", "caf\udce9.jpg"]
    assert [one["path"] for one in found.failed] == ["a/cut.png", "c.jpg", "\udcff.txt"]
    assert found.model == read_artifact(model).model and found.model.input_spec.mean[0] == 0.49139967861519607
    assert found.artifact == {
        "file": "tiny.ms",
        "sha256": read_artifact(model).sha256,
        "output": "logits",
        "weights_dtype": "float32",
    }
    assert found.backend == "lite-cpp" and set(found.stages_ms) == {"read", "decode", "preprocess", "infer"}


def test_broken_pictures_may_be_allowed(run, converted, mixed):
    status, _, out = run("--model", converted / "tiny.ms", "--images", mixed, "--allow_broken")
    assert status == 0 and len(results(out)["failed"]) == 3


def test_nothing_scored_is_a_failure_even_if_broken_pictures_are_allowed(run, converted, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "one.png").write_text("no")
    status, errors, _ = run("--model", converted / "tiny.ms", "--images", tmp_path / "bad", "--allow_broken")
    assert status == 1 and "none of the 1 inputs could be scored" in errors


def test_the_summary_adds_up(run, converted, pictures):
    _, _, out = run("--model", converted / "tiny.ms", "--images", pictures, "--warmup", 5, "--batch", 1)
    found = results(out)
    times = np.array([entry["ms"] for entry in found["pictures"]])
    latency = found["latency_ms"]
    assert latency["warmup"] == 5 and 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= times.max()
    assert found["throughput"] == pytest.approx(40 / found["seconds"], rel=1e-6)
    assert sum(found["stages_ms"].values()) == pytest.approx(times.mean(), rel=1e-6)
    logits = np.load(out / "logits.npy")
    assert [entry["top5"] for entry in found["pictures"]] == np.argsort(-logits, 1, kind="stable")[:, :5].tolist()
    assert found["artifact"]["sha256"] == hashlib.sha256((converted / "tiny.ms").read_bytes()).hexdigest()
    assert found["versions"]["mindspore_lite"].endswith("2.0.0")


def test_a_changed_model_is_not_run(run, converted, pictures, tmp_path):
    model = copy_model(converted, tmp_path)
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    status, errors, out = run("--model", model, "--images", pictures)
    assert status == 1 and "expected sha256" in errors and not out.exists()
    model.write_bytes(data[:1000])
    status, errors, _ = run("--model", model, "--images", pictures)
    assert status == 1 and "bytes, found 1000" in errors


def test_a_failure_in_a_folder_whose_name_is_not_utf8_is_named(native, converted, tmp_path):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    model = copy_model(converted, folder)
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(InferenceError, match=r"caf\\xe9/tiny.ms: expected .* bytes, found 1000"):
        run_tensor(model, np.zeros((1, 3, 32, 32), np.float32), native.programs)


def test_a_format_for_another_program_is_a_matter_of_usage(run, converted, pictures, tmp_path):
    status, errors, out = run("--model", copy_model(converted, tmp_path, format="onnx"), "--images", pictures)
    assert status == 2 and "runs the formats ms and lite-mindir, not onnx" in errors and not out.exists()


def test_a_model_that_the_runtime_refuses_is_named(run, converted, pictures, tmp_path):
    rubbish = np.random.default_rng(0).bytes(5000)
    model = copy_model(converted, tmp_path, size=5000, sha256=hashlib.sha256(rubbish).hexdigest())
    model.write_bytes(rubbish)
    status, errors, _ = run("--model", model, "--images", pictures)
    assert status == 1 and "MindSpore Lite cannot build" in errors


def test_a_contract_that_the_model_does_not_keep_is_refused(run, converted, pictures, tmp_path):
    contract = json.loads((converted / "tiny.ms.json").read_text())
    spec = contract["model"]["input_spec"] | {"size": 64, "resize": 64}
    wide = contract["input"] | {"shape": [-1, 3, 64, 64]}
    model = copy_model(converted, tmp_path, model=contract["model"] | {"input_spec": spec}, input=wide)
    status, errors, _ = run("--model", model, "--images", pictures)
    assert status == 1 and "the contract says pictures of 64 x 64" in errors
    more = contract["output"] | {"shape": [-1, 12]}
    none = contract["model"] | {"num_classes": 12, "labels_sha256": hashlib.sha256(b"").hexdigest()}
    model = copy_model(converted, tmp_path, output=more, labels=[], model=none)
    status, errors, _ = run("--model", model, "--images", pictures)
    assert status == 1 and "expected float32 logits [2, 12]" in errors


@pytest.mark.parametrize(
    "arguments, message, status",
    [
        (("--images", "MISSING"), "is no folder", 1),
        (("--images", "EMPTY"), "holds no files", 1),
        (("--tensor", "MISSING"), "No such file", 1),
        ((), "give either --images or --tensor", 2),
        (("--images", "EMPTY", "--tensor", "MISSING"), "give either --images or --tensor", 2),
        (("--images", "EMPTY", "--color", "red"), "unknown flag --color", 2),
        (("--images", "EMPTY", "--device", "tpu"), "expected one of cpu, ascend310", 2),
        (("--images", "EMPTY", "--workers", "0"), "from 1 to 1024", 2),
        (("--images", "EMPTY", "--precision", "enforce_fp16"), "--precision is for Ascend", 2),
    ],
)
def test_bad_arguments_leave_nothing_behind(run, converted, tmp_path, arguments, message, status):
    (tmp_path / "EMPTY").mkdir()
    arguments = [str(tmp_path / word) if word in ("EMPTY", "MISSING") else word for word in arguments]
    found, errors, _ = run("--model", converted / "tiny.ms", *arguments)
    assert found == status and message in errors
    assert [path.name for path in tmp_path.iterdir()] == ["EMPTY"]


def test_a_missing_model_or_contract_is_named(run, converted, pictures, tmp_path):
    status, errors, _ = run("--model", tmp_path / "none.ms", "--images", pictures)
    assert status == 1 and "none.ms.json: No such file" in errors
    copy_model(converted, tmp_path).unlink()
    status, errors, _ = run("--model", tmp_path / "tiny.ms", "--images", pictures)
    assert status == 1 and "tiny.ms: No such file" in errors


def test_another_folder_is_not_overwritten_but_an_earlier_result_is(run, converted, pictures, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("mine")
    status, errors, _ = run("--model", converted / "tiny.ms", "--images", pictures, out="home")
    assert status == 2 and "not an earlier result" in errors
    assert (tmp_path / "home" / "letter.txt").read_text() == "mine"
    for _ in range(2):
        status, errors, _ = run("--model", converted / "tiny.ms", "--images", pictures)
        assert status == 0, errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "out"]


@pytest.mark.parametrize("device", ["ascend310", "ascend310p", "ascend310b", "ascend910"])
def test_a_device_without_its_runtime_is_refused_and_not_replaced(run, converted, pictures, device):
    import ctypes

    try:
        ctypes.CDLL("libascendcl.so")
    except OSError:
        status, errors, out = run("--model", converted / "tiny.ms", "--images", pictures, "--device", device)
        assert status == 1 and "libascendcl.so" in errors and "CANN" in errors and not out.exists()
        return
    pytest.skip("this machine has CANN")


def test_an_interrupted_run_keeps_whole_results_or_none(native, converted, pictures, tmp_path):
    (tmp_path / "many").mkdir()
    for number in range(400):
        (tmp_path / "many" / str(number)).symlink_to(pictures)
    started = subprocess.Popen(
        [
            str(native.infer),
            "--model",
            str(converted / "tiny.ms"),
            "--images",
            str(tmp_path / "many"),
            "--out",
            str(tmp_path / "out"),
        ],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1)
    started.send_signal(signal.SIGINT)
    ended = started.wait(timeout=60)
    if ended == -signal.SIGINT:  # on a busy machine: before anything was begun
        assert [path.name for path in tmp_path.iterdir()] == ["many"]
        return
    assert ended == 130
    kept = results(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "out", "out.partial"]  # for --resume
    assert kept["count"] == len(np.load(tmp_path / "out" / "logits.npy")) == 16000 - len(kept["failed"])


def test_an_open_batch_is_two_pictures_on_the_cpu_unless_said_otherwise(run, converted, pictures):
    for arguments, batch in (((), 2), (("--batch", 1), 1)):
        _, _, out = run("--model", converted / "tiny.ms", "--images", pictures, *arguments)
        assert results(out)["batch"] == batch and results(out)["count"] == 40


def test_the_program_uses_the_cores_that_it_may_use(run, converted, pictures, expected):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        status, errors, out = run("--model", converted / "tiny.ms", "--images", pictures, "--decoders", 3)
    finally:
        os.sched_setaffinity(0, before)
    assert status == 0, errors
    assert results(out)["workers"] == 1
    assert np.abs(np.load(out / "logits.npy") - expected[1]).max() < 1e-4


RUNNER = "import sys; from glorext.deploy.runners.lite import run_program; run_program(sys.argv[1:])"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_program_ends_with_the_command_that_started_it(native, converted, tmp_path, number):
    (tmp_path / "many").mkdir()
    Image.effect_noise((2000, 2000), 50).save(tmp_path / "one.jpg")
    for index in range(5000):  # minutes
        (tmp_path / "many" / f"{index}.jpg").symlink_to(tmp_path / "one.jpg")
    command = [native.infer, "--model", converted / "tiny.ms", "--images", tmp_path / "many", "--out", tmp_path / "out"]
    caller = subprocess.Popen([sys.executable, "-c", RUNNER, *map(str, command)])
    children = Path(f"/proc/{caller.pid}/task/{caller.pid}/children")
    try:
        deadline = time.monotonic() + 60
        while not (started := children.read_text().split()) or not Path(f"/proc/{started[0]}/exe").samefile(
            native.infer
        ):
            assert time.monotonic() < deadline and caller.poll() is None
            time.sleep(0.05)
        time.sleep(0.3)
        assert caller.poll() is None
    finally:
        caller.send_signal(number)
        caller.wait(10)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and Path(f"/proc/{started[0]}/exe").exists():
        time.sleep(0.05)
    assert not Path(f"/proc/{started[0]}/exe").exists()
