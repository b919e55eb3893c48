"""Many devices: two CPU processes do what one does, a dead one ends the job, rank tables and scripts are read."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from glorext.models import create, save_checkpoint
from glorext.models.answers import read_results
from glorext.models.formats import read_tensors
from glorext.runtime import cli, read_json
from glorext.runtime.errors import DataError, UsageError
from glorext.train import launch as launcher
from glorext.train import launch as launching
from glorext.train import loop
from glorext.train.command import parse
from glorext.train.damage import without_damage
from glorext.train.data import list_pictures
from glorext.train.distributed import Group, join_group
from glorext.train.launch import LaunchError, launch
from glorext.train.rank_table import card_addresses, cards_of_host, make_rank_table, read_rank_table
from glorext.train.run_folder import fingerprint
from glorext.train.verify_resume import verify_resume

WORKER = Path(__file__).with_name("two_devices.py")
SCRIPTS = Path(launching.__file__).with_name("scripts")
SMALL = [
    "--network_args",
    '{"layers": [1, 1, 1, 1], "groups": 2, "width_per_group": 4, "stem_width": 8}',
    "--input",
    '{"size": 16, "resize": 16}',
    "--batch_size",
    "4",
    "--device_target",
    "CPU",
]


@pytest.mark.slow
def test_two_devices_give_the_weights_of_one_with_twice_the_batch(draw, tmp_path):
    pictures = draw("val", classes=("ant", "bee"), each=7)
    assert launch([str(WORKER), str(tmp_path), str(pictures)], 2, log_dir=tmp_path / "logs") == 0
    (tmp_path / "one").mkdir()
    spec = importlib.util.spec_from_file_location("two_devices", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.run(tmp_path / "one", pictures)
    two, one = read_tensors(tmp_path / "weights.ckpt"), read_tensors(tmp_path / "one" / "weights.ckpt")
    assert two.keys() == one.keys()
    assert max(np.abs(two[name] - one[name]).max() for name in one) <= 1e-5
    two, one = read_json(tmp_path / "found.json"), read_json(tmp_path / "one" / "found.json")
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
    assert one["losses"][-1] != one["losses"][0] and one["hits"][2] == 14
    assert two["hits"] == one["hits"] and two["answers"] == one["answers"]
    np.testing.assert_allclose(two["confidences"], one["confidences"], rtol=1e-5)
    assert 0.5 <= min(one["confidences"]) < max(one["confidences"]) <= 1
    assert (one["mean"], two["mean"]) == (0.0, 0.5) and two["waited"]


@pytest.mark.slow
def test_an_overflow_on_one_device_is_skipped_by_all(tmp_path):
    assert launch([str(WORKER.with_name("overflow_on_one.py")), str(tmp_path)], 2, log_dir=tmp_path / "logs") == 0
    one, other = (read_json(tmp_path / f"{rank}.json") for rank in (0, 1))
    assert one == other
    assert one["finite"] == [True, False, True, True] and one["scales"] == [1024, 512, 512, 512]
    first, second, third, fourth = one["digests"]
    assert first == second != third != fourth


@pytest.mark.slow
def test_evaluation_on_two_devices_is_that_of_one(script, draw, tmp_path, recipe):
    # 13 pictures: the devices score 7 and 6, and no batch is full.
    pictures = draw("data/val", classes=("ant", "bee"), each=6)
    (pictures / "bee" / "z.png").write_bytes((pictures / "ant" / "000.png").read_bytes())
    (tmp_path / "run").mkdir()
    recipe().save(tmp_path / "run" / "recipe.yaml")
    save_checkpoint(create("resnext50", **recipe().network_args, num_classes=2), tmp_path / "run" / "best.ckpt")
    flags = ["--platform", "CPU", "--batch_size", 4]
    two = script(
        "glore_res50/run_eval.sh",
        tmp_path / "data",
        "0-1",
        tmp_path / "run" / "best.ckpt",
        *flags,
        "--out",
        "two.json",
        "--results",
        "two",
    )
    assert two.returncode == 0, two.stdout + two.stderr
    assert (
        cli.main(
            [
                "eval",
                str(tmp_path / "run" / "best.ckpt"),
                "--data_dir",
                str(pictures),
                *map(str, flags),
                "--out",
                str(tmp_path / "one.json"),
                "--results",
                str(tmp_path / "one"),
            ]
        )
        == 0
    )
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    found = read_json(tmp_path / "two.json")
    assert found["count"] == 13 and [row["count"] for row in found["classes"]] == [6, 7]
    assert sum(row["count"] for row in found["calibration"]["bins"]) == 13 and 0 < found["calibration"]["ece"] < 1
    one, two = read_results(tmp_path / "one"), read_results(tmp_path / "two")
    np.testing.assert_allclose(two.logits, one.logits, atol=1e-5)
    assert np.ptp(one.logits, axis=0).min() > 1e-3 and (one.workers, two.workers) == (1, 2)
    assert [p["path"] for p in two.pictures] == [p["path"] for p in one.pictures]
    assert all(p["ms"] > 0 for p in two.pictures) and two.latency_ms["warmup"] == 8
    # As published, glore's log lies in the folder eval; only rank 0 speaks.
    log = (tmp_path / "eval" / "log").read_text()
    assert f"{{'Accuracy': {read_json(tmp_path / 'one.json')['top1']}}}" in log and log.count("(TOP1)") == 1
    assert "(TOP1)" not in (tmp_path / "logs" / "worker_1.log").read_text()
    assert [path.name for path in (tmp_path / "eval").iterdir()] == ["log"]


def test_nothing_is_left_when_the_launcher_of_mindspore_is_killed(tmp_path, monkeypatch):
    script = tmp_path / "sleeper.py"
    script.write_text(
        "import os, time, pathlib\n"
        "pathlib.Path(os.environ.get('MS_NODE_ID', 'scheduler')).write_text(str(os.getpid()))\n"
        "time.sleep(999)\n"
    )

    def kill_msrun():
        while len(list(tmp_path.glob("[0-9]"))) < 2:
            time.sleep(0.05)
        next(child for child in psutil.Process().children() if "msrun" in " ".join(child.cmdline())).kill()

    threading.Thread(target=kill_msrun, daemon=True).start()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LaunchError, match="without an error message"):
        launch([str(script)], 2, log_dir=tmp_path / "logs")
    started = [int((tmp_path / name).read_text()) for name in ("0", "1", "scheduler")]
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in started)


@pytest.mark.slow
def test_sigterm_stops_all_devices_at_one_step_with_the_state_saved(draw, tmp_path):
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "glorext.train.launch",
            "--devices",
            "2",
            "--log_dir",
            str(tmp_path / "logs"),
            "train",
            "--recipe",
            "digits",
            *SMALL,
            "--data_dir",
            str(draw(each=16)),
            "--epochs",
            "500",
            "--save_checkpoint",
            "0",
            "--out",
            str(tmp_path / "run"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "run" / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=90)[1]
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert len(list((tmp_path / "run").glob("resnext50-*.ckpt"))) == 1
    assert "resnext50-" in (tmp_path / "logs" / "worker_0.log").read_text()
    assert "the checkpoint of rank 0" in (tmp_path / "logs" / "worker_1.log").read_text()


@pytest.mark.slow
def test_a_killed_worker_ends_the_whole_job_with_a_message(draw, tmp_path, monkeypatch):
    monkeypatch.setenv("MS_NODE_TIMEOUT", "5")  # a third of ours: the test need not wait for it
    flags = [
        "-m",
        "glorext.train",
        "--recipe",
        "digits",
        *SMALL,
        "--data_dir",
        str(draw(each=16)),
        "--epochs",
        "200",
        "--out",
        str(tmp_path / "run"),
        "--save_checkpoint",
        "0",
    ]
    killed: list[Any] = []  # when, and the processes

    def kill_one():
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            time.sleep(0.1)
        me = psutil.Process()
        workers = [
            child
            for child in me.children(recursive=True)  # msrun also starts `tail` for each
            if child.name().startswith("python") and child.environ().get("MS_ROLE") == "MS_WORKER"
        ]
        killed.extend([time.monotonic(), *workers])
        workers[-1].send_signal(signal.SIGKILL)

    threading.Thread(target=kill_one, daemon=True).start()
    with pytest.raises(LaunchError, match="2 processes"):
        launch(flags, 2, log_dir=tmp_path / "logs")
    assert len(killed) == 3 and time.monotonic() - killed[0] < 60
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in killed[1:])


def test_a_worker_that_fails_before_it_joins_ends_the_job_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "NODE_TIMEOUT", 3)
    script = tmp_path / "one_fails.py"
    script.write_text(
        "import os, time\n"
        "if os.environ.get('MS_NODE_ID') == '1': raise ValueError('no such card')\n"
        "time.sleep(999)\n"  # as the scheduler does that waits for all to join
    )
    monkeypatch.chdir(tmp_path)
    begun = time.monotonic()
    with pytest.raises(LaunchError, match="worker_1.log: ValueError: no such card"):
        launch([str(script)], 2, log_dir=tmp_path / "logs")
    assert time.monotonic() - begun < 60


def environment_of_launch(monkeypatch, tmp_path, argv):
    """The command of msrun and its environment, from `python -m glorext.train.launch ARGV`."""
    seen = []

    def run(msrun, environment, log, alone):
        seen.extend([msrun, environment])
        return 0, []

    monkeypatch.setattr(launcher, "_run", run)
    assert launcher.main(["--log_dir", str(tmp_path / "logs"), *argv, "train", "--data_dir", "x"]) == 0
    return seen


def test_processes_and_cards_wait_as_long_as_the_flag_says(tmp_path, monkeypatch):
    monkeypatch.delenv("HCCL_CONNECT_TIMEOUT", raising=False)
    for argv, joined, connected in (
        ([], 600, 600),
        (["--cluster_timeout", "30"], 30, 120),
        (["--cluster_timeout", "9000"], 9000, 7200),
    ):
        msrun, environment = environment_of_launch(monkeypatch, tmp_path, argv)
        assert f"--cluster_time_out={joined}" in msrun and environment["HCCL_CONNECT_TIMEOUT"] == str(connected)
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "1800")
    assert environment_of_launch(monkeypatch, tmp_path, [])[1]["HCCL_CONNECT_TIMEOUT"] == "1800"
    with pytest.raises(UsageError, match="second"):
        environment_of_launch(monkeypatch, tmp_path, ["--cluster_timeout", "0"])


def test_cards_rise_and_host_0_is_the_one_of_the_table(tmp_path, monkeypatch):
    msrun, environment = environment_of_launch(monkeypatch, tmp_path, ["--device_ids", "6,0,4"])
    assert environment["ASCEND_RT_VISIBLE_DEVICES"] == environment["CUDA_VISIBLE_DEVICES"] == "0,4,6"
    assert {"--worker_num=3", "--master_addr=127.0.0.1"} <= set(msrun)
    table = make_rank_table({0: "10.0.0.1"}, [0], "10.1.1.1")
    for server in ("10.1.1.2", "node_1"):
        second = {"server_id": server, "device": [{"device_id": "0", "rank_id": "1"}]}
        hosts = (
            [*table["server_list"], second]
            if server != "node_1"
            else [{**table["server_list"][0], "server_id": "node_0"}, second]
        )
        (tmp_path / "t.json").write_text(json.dumps(table | {"server_list": hosts}))
        argv = ["--rank_table", str(tmp_path / "t.json"), "--host", "1"]
        if server == "node_1":
            with pytest.raises(UsageError, match="--master"):
                environment_of_launch(monkeypatch, tmp_path, argv)
            argv += ["--master", "10.1.1.1"]
        msrun, _ = environment_of_launch(monkeypatch, tmp_path, argv)
        assert {"--master_addr=10.1.1.1", "--node_rank=1", "--worker_num=2", "--local_worker_num=1"} <= set(msrun)


class OfTwo(Group):
    """Rank 0 of two, whose rank 1 has digests of its own."""

    other = bytes(32)

    def sum(self, numbers):
        """With what rank 1 would add: its digest, or as good a picture as rank 0's."""
        if numbers.shape != (2, 32):
            return numbers
        return numbers + np.array([[0] * 32, list(self.other)])


def test_hosts_with_other_pictures_or_other_weights_do_not_train_together(draw, recipe, monkeypatch):
    pictures = list_pictures(draw())
    group = OfTwo(0, 2)
    monkeypatch.setattr(OfTwo, "other", fingerprint(pictures).tobytes())
    assert without_damage(pictures, group=group) == pictures
    with pytest.raises(DataError, match="SHA-256 .* for rank 0, .* for rank 1"):
        without_damage(list_pictures(draw("other", classes=("ant", "cat"))), group=group)

    class OfRun(OfTwo):
        def sum(self, numbers):
            """As rank 1 with the same pictures and checkpoint, and other weights."""
            if numbers.shape == (3,):  # where the run stands
                return 2 * numbers
            return super().sum(numbers)

    monkeypatch.setattr(loop, "join_group", lambda device, device_id: ("CPU", OfRun(0, 2)))
    with pytest.raises(DataError, match="the weights that training starts from"):
        loop.train(recipe(), pictures.folder, device="CPU", quiet=True)


def test_what_cannot_run_on_many_devices_is_refused(monkeypatch):
    monkeypatch.setenv("MS_WORKER_NUM", "2")
    monkeypatch.setenv("MS_SCHED_PORT", "1")
    with pytest.raises(UsageError, match="--device_ids 0,1"):
        join_group("CPU", 0)
    with pytest.raises(UsageError, match="without the launcher"):
        verify_resume([], 8)


def test_rank_table_reads_back_in_the_order_of_its_ranks(tmp_path, capsys):
    assert (
        cli.main(
            [
                "rank-table",
                "--devices",
                "4-6",
                "--addresses",
                "10.0.0.4,10.0.0.5,10.0.0.6",
                "--server",
                "10.1.1.1",
                "--out",
                str(tmp_path / "t.json"),
            ]
        )
        == 0
    )
    cards = read_rank_table(tmp_path / "t.json")
    assert [(card.rank, card.device_id, card.device_ip, card.server) for card in cards] == [
        (0, 4, "10.0.0.4", "10.1.1.1"),
        (1, 5, "10.0.0.5", "10.1.1.1"),
        (2, 6, "10.0.0.6", "10.1.1.1"),
    ]
    capsys.readouterr()
    assert cli.main(["rank-table", "--show", str(tmp_path / "t.json")]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "0 4 10.0.0.4 10.1.1.1"


def test_tables_of_several_hosts_become_one(tmp_path, capsys):
    tables = [str(tmp_path / f"{host}.json") for host in "ba"]
    for host, (path, devices) in enumerate(zip(tables, ([4, 6], [0, 1]))):
        addresses = {device: f"10.0.{host}.{device}" for device in devices}
        Path(path).write_text(json.dumps(make_rank_table(addresses, devices, f"10.1.1.{host}")))
    out = str(tmp_path / "all.json")
    assert cli.main(["rank-table", "--merge", *tables, "--out", out]) == 0
    assert json.loads(Path(out).read_text())["server_count"] == "2"
    assert [(card.rank, card.device_id, card.device_ip, card.server) for card in read_rank_table(out)] == [
        (0, 4, "10.0.0.4", "10.1.1.0"),
        (1, 6, "10.0.0.6", "10.1.1.0"),
        (2, 0, "10.0.1.0", "10.1.1.1"),
        (3, 1, "10.0.1.1", "10.1.1.1"),
    ]
    assert cards_of_host(out, 1) == (["10.1.1.0", "10.1.1.1"], [0, 1])
    Path(out).unlink()
    assert cli.main(["rank-table", "--merge", tables[0], tables[0], "--out", out]) == 1
    assert "10.1.1.0 again" in capsys.readouterr().err and not Path(out).exists()
    Path(tables[1]).write_text(json.dumps(json.loads(Path(tables[1]).read_text()) | {"version": "1.2"}))
    assert cli.main(["rank-table", "--merge", *tables, "--out", out]) == 1


@pytest.mark.parametrize("name, order", [("resnext50", "{0} D x.ckpt"), ("glore_res50", "D {0} x.ckpt")])
def test_evaluation_takes_cards_as_hccl_tools_names_them(name, order, tmp_path):
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)

    def ran(cards):
        words = ["sh", str(SCRIPTS / name / "run_eval.sh"), *order.format(cards).split()]
        environment = os.environ | {"PYTHON": str(tmp_path / "python")}
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment)

    assert ran("[0,8)").stdout.splitlines()[2:5] == ["--device_ids", "[0,8)", "eval"]
    assert ran("5").stdout.splitlines()[2:4] == ["--device_id", "5"]
    assert ran("[0;8)").returncode == 2


def test_cards_of_a_host_come_from_a_table_that_msrun_can_serve(tmp_path, caplog):
    def table(*cards):
        servers = {}
        for rank, (server, device) in enumerate(cards):
            servers.setdefault(server, []).append({"device_id": str(device), "rank_id": str(rank)})
        (tmp_path / "t.json").write_text(
            json.dumps(
                {"server_list": [{"server_id": server, "device": devices} for server, devices in servers.items()]}
            )
        )
        return tmp_path / "t.json"

    path = table(("b", 6), ("b", 4), ("a", 0), ("a", 1))
    # Ascend's driver takes a list of cards in rising order only.
    assert [cards_of_host(path, host) for host in (0, 1)] == [(["b", "a"], [4, 6]), (["b", "a"], [0, 1])]
    assert "[6, 4]" in caplog.text
    with pytest.raises(UsageError, match="below 2"):
        cards_of_host(path, 2)
    for unfit in ([("a", 0), ("a", 1), ("b", 0)], [("a", 0), ("b", 0), ("a", 1), ("b", 1)]):
        with pytest.raises(DataError, match="as many cards"):
            cards_of_host(table(*unfit), 0)


def test_card_addresses_come_from_the_driver_configuration(tmp_path):
    (tmp_path / "hccn.conf").write_text(
        "address_0=192.168.100.101\nnetmask_0=255.255.255.0\naddress_1=192.168.101.101\n"
    )
    assert card_addresses(tmp_path / "hccn.conf") == {0: "192.168.100.101", 1: "192.168.101.101"}


@pytest.mark.parametrize(
    "argv, status",
    [
        (["--devices", "x", "--out", "t"], 2),
        (["--devices", "0,0", "--addresses", "10.0.0.1,10.0.0.2", "--out", "t"], 2),
        (["--devices", "0,1", "--addresses", "10.0.0.1", "--out", "t"], 2),
        ([], 2),
        (["--devices", "0", "--addresses", "10.0.0.999", "--out", "t"], 2),
        (["--show", "nowhere.json"], 1),
    ],
)
def test_wrong_rank_tables_are_refused(argv, status, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["rank-table", *argv]) == status and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"server_list": []},
        {"server_list": {"server_id": "a"}},
        {"server_list": [{"server_id": "a", "device": [{"device_id": "0"}]}]},
        {"server_list": [{"server_id": "a", "device": [{"device_id": "0", "rank_id": "-1"}]}]},
        {"server_list": [{"server_id": "a", "device": [{"device_id": "zero", "rank_id": "0"}]}]},
        {"server_list": [{"server_id": 1, "device": [{"device_id": "0", "rank_id": "0"}]}]},
        make_rank_table({0: "10.0.0.1"}, [0], "10.1.1.1")
        | {"server_list": [{"server_id": "a", "device": [{"device_id": "0", "rank_id": "3"}]}]},
        make_rank_table({0: "10.0.0.1"}, [0], "10.1.1.1") | {"status": "initializing"},
        make_rank_table({0: "10.0.0.1"}, [0], "10.1.1.1") | {"version": "2.0"},
    ],
)
def test_a_damaged_rank_table_is_an_error(tmp_path, table):
    (tmp_path / "t.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match="t.json"):
        read_rank_table(tmp_path / "t.json")
    with pytest.raises(UsageError, match="card"):
        make_rank_table({0: "10.0.0.1"}, [1], "10.1.1.1")


@pytest.fixture
def script(tmp_path):
    """script("resnext50/run_eval.sh", ...): the script's run, in the test's folder."""

    def run(name, *arguments):
        return subprocess.run(
            ["sh", str(SCRIPTS / name), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=tmp_path,
            env=os.environ | {"PYTHON": sys.executable},
        )

    return run


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("resnext50/run_standalone_train.sh", ()),
        ("resnext50/run_standalone_train.sh", ("DATA", "0")),
        ("resnext50/run_standalone_train.sh", ("0", "DATA", "x.ckpt", "more")),
        ("resnext50/run_distribute_train.sh", ("table.json",)),
        ("resnext50/run_standalone_train_for_gpu.sh", ("0",)),
        ("resnext50/run_distribute_train_for_gpu.sh", ()),
        ("resnext50/run_distribute_train_for_gpu.sh", ("DATA", "x.ckpt", "more")),
        ("resnext50/run_distribute_train.sh", ("table.json", "DATA", "x.ckpt", "more")),
        ("resnext50/run_eval.sh", ("0", "DATA")),
        ("resnext50/run_eval.sh", ("0", "DATA", "x.ckpt", "TPU")),
        ("glore_res50/run_standalone_train.sh", ("0", "DATA")),
        ("glore_res50/run_distribute_train.sh", ("DATA",)),
        ("glore_res50/run_eval.sh", ("DATA", "x.ckpt", "0")),
        ("glore_res50/run_distribute_train.sh", ("DATA", "8", "16")),
        ("resnext50/run_eval.sh", ("0", "", "x.ckpt")),
        ("resnext50/run_standalone_train.sh", ("0-1", "DATA")),
    ],
)
def test_scripts_called_wrongly_print_their_usage_and_exit_2(script, name, arguments):
    ran = script(name, *arguments)
    assert ran.returncode == 2 and ran.stderr.startswith(f"usage: sh {Path(name).name} ") and not ran.stdout


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("resnext50/run_standalone_train.sh", ("0", "nowhere", "--platform", "CPU")),
        ("resnext50/run_eval.sh", ("0", "nowhere", "none.ckpt", "CPU")),
        ("resnext50/run_distribute_train.sh", ("nowhere.json", "nowhere")),
        ("glore_res50/run_eval.sh", ("nowhere", "0", "no.ckpt")),
    ],
)
def test_scripts_fail_where_their_step_fails(script, name, arguments):
    ran = script(name, *arguments)
    assert ran.returncode == 1 and any(name in ran.stderr for name in ("nowhere", "none.ckpt", "no.ckpt"))


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("resnext50/run_distribute_train.sh", ("table.json", "DATA")),
        ("resnext50/run_standalone_train.sh", ("0", "DATA")),
        ("resnext50/run_standalone_train_for_gpu.sh", ("0", "DATA")),
        ("resnext50/run_distribute_train_for_gpu.sh", ("DATA",)),
    ],
)
def test_scripts_take_a_checkpoint_to_start_from(name, arguments, tmp_path):
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)

    def flags(*more):
        environment = {name: value for name, value in os.environ.items() if name != "MASTER_ADDR"}
        ran = subprocess.run(
            ["sh", str(SCRIPTS / name), *arguments, *more],
            capture_output=True,
            text=True,
            env=environment | {"PYTHON": str(tmp_path / "python")},
        )
        assert ran.returncode == 0, ran.stderr
        words = ran.stdout.splitlines()
        return parse(words[words.index("--recipe") :])[1]

    assert flags("--lr", "0.5").pretrained is None
    started = flags("my weights.ckpt", "--lr", "0.5")
    assert (started.pretrained, started.lr) == ("my weights.ckpt", 0.5)


@pytest.mark.slow
def test_scripts_train_and_evaluate(script, draw, tmp_path):
    data = draw(each=4)
    trained = script(
        "resnext50/run_standalone_train.sh",
        0,
        data,
        "--recipe",
        "digits",
        *SMALL,
        "--epochs",
        1,
        "--out",
        tmp_path / "run",
    )
    assert trained.returncode == 0, trained.stderr
    assert "epoch:1 step:2, loss is " in trained.stdout
    measured = script("resnext50/run_eval.sh", 0, data, tmp_path / "run" / "best.ckpt", "CPU")
    assert measured.returncode == 0, measured.stderr
    assert "(TOP1)" in measured.stdout and "(TOP5)" not in measured.stdout  # of two classes
