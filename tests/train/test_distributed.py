"""Many devices: two CPU processes do what one does, a dead one ends the job, rank tables and scripts are read."""
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

import glorext.train
from glorext.models.formats import read_tensors
from glorext.runtime import cli, read_json
from glorext.runtime.errors import DataError, UsageError
from glorext.train.launch import LaunchError, launch
from glorext.train.rank_table import card_addresses, make_rank_table, read_rank_table

WORKER = Path(__file__).with_name("two_devices.py")
SCRIPTS = Path(glorext.train.__file__).with_name("scripts")
SMALL = ["--network_args", '{"layers": [1, 1, 1, 1], "groups": 2, "width_per_group": 4, "stem_width": 8}',
         "--input", '{"size": 16, "resize": 16}', "--batch_size", "4", "--device_target", "CPU"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.slow
def test_two_devices_give_the_weights_of_one_with_twice_the_batch(draw, tmp_path):
    pictures = draw("val", classes=("ant", "bee"), each=7)
    assert launch([str(WORKER), str(tmp_path), str(pictures)], 2, log_dir=tmp_path / "logs", port=free_port()) == 0
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
    assert two["hits"] == one["hits"] and two["confusion"] == one["confusion"]
    assert (one["mean"], two["mean"]) == (0.0, 0.5)


@pytest.mark.slow
def test_a_killed_worker_ends_the_whole_job_with_a_message(draw, tmp_path):
    flags = ["-m", "glorext.train", "--recipe", "digits", *SMALL, "--data_dir", str(draw(each=16)), "--epochs", "200",
             "--out", str(tmp_path / "run"), "--save_checkpoint", "0"]
    killed = []

    def kill_one():
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            time.sleep(0.1)
        me = psutil.Process()
        workers = [child for child in me.children(recursive=True)  # msrun also starts `tail` for each
                   if child.name().startswith("python") and child.environ().get("MS_ROLE") == "MS_WORKER"]
        killed.extend([time.monotonic(), *workers])
        workers[-1].send_signal(signal.SIGKILL)

    threading.Thread(target=kill_one, daemon=True).start()
    with pytest.raises(LaunchError, match="2 processes"):
        launch(flags, 2, log_dir=tmp_path / "logs", port=free_port())
    assert len(killed) == 3 and time.monotonic() - killed[0] < 60
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in killed[1:])


def test_rank_table_reads_back_in_the_order_of_its_ranks(tmp_path, capsys):
    assert cli.main(["rank-table", "--devices", "4-6", "--addresses", "10.0.0.4,10.0.0.5,10.0.0.6", "--server", "10.1.1.1",
                     "--out", str(tmp_path / "t.json")]) == 0
    cards = read_rank_table(tmp_path / "t.json")
    assert [(card.rank, card.device_id, card.device_ip, card.server) for card in cards] == [
        (0, 4, "10.0.0.4", "10.1.1.1"), (1, 5, "10.0.0.5", "10.1.1.1"), (2, 6, "10.0.0.6", "10.1.1.1")]
    capsys.readouterr()
    assert cli.main(["rank-table", "--show", str(tmp_path / "t.json")]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "0 4 10.0.0.4 10.1.1.1"


def test_card_addresses_come_from_the_driver_configuration(tmp_path):
    (tmp_path / "hccn.conf").write_text("address_0=192.168.100.101\nnetmask_0=255.255.255.0\naddress_1=192.168.101.101\n")
    assert card_addresses(tmp_path / "hccn.conf") == {0: "192.168.100.101", 1: "192.168.101.101"}


@pytest.mark.parametrize("argv, status", [
    (["--devices", "x", "--out", "t"], 2), (["--devices", "0,0", "--addresses", "10.0.0.1,10.0.0.2", "--out", "t"], 2),
    (["--devices", "0,1", "--addresses", "10.0.0.1", "--out", "t"], 2), ([], 2),
    (["--devices", "0", "--addresses", "10.0.0.999", "--out", "t"], 2), (["--show", "nowhere.json"], 1)])
def test_wrong_rank_tables_are_refused(argv, status, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["rank-table", *argv]) == status and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("table", [{}, {"server_list": []}, {"server_list": [{"server_id": "a", "device": [{"device_id": "0"}]}]},
                                   make_rank_table({0: "10.0.0.1"}, [0], "10.1.1.1") | {"server_list": [
                                       {"server_id": "a", "device": [{"device_id": "0", "rank_id": "3"}]}]}])
def test_a_damaged_rank_table_is_an_error(tmp_path, table):
    (tmp_path / "t.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match="t.json"):
        read_rank_table(tmp_path / "t.json")
    with pytest.raises(UsageError, match="card"):
        make_rank_table({0: "10.0.0.1"}, [1], "10.1.1.1")


def script(name, *arguments, **environment):
    return subprocess.run(["sh", str(SCRIPTS / name), *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          env=os.environ | {"PYTHON": sys.executable} | environment)


@pytest.mark.parametrize("name, arguments", [
    ("resnext50/run_standalone_train.sh", ()), ("resnext50/run_standalone_train.sh", ("DATA", "0")),
    ("resnext50/run_standalone_train.sh", ("0", "DATA", "more")), ("resnext50/run_distribute_train.sh", ("table.json",)),
    ("resnext50/run_standalone_train_for_gpu.sh", ("0",)), ("resnext50/run_distribute_train_for_gpu.sh", ()),
    ("resnext50/run_distribute_train_for_gpu.sh", ("0", "DATA")), ("resnext50/run_eval.sh", ("0", "DATA")),
    ("resnext50/run_eval.sh", ("0", "DATA", "x.ckpt", "TPU")), ("glore_res50/run_standalone_train.sh", ("0", "DATA")),
    ("glore_res50/run_distribute_train.sh", ("DATA",)), ("glore_res50/run_eval.sh", ("DATA", "x.ckpt", "0"))])
def test_scripts_called_wrongly_print_their_usage_and_exit_2(name, arguments):
    ran = script(name, *arguments)
    assert ran.returncode == 2 and ran.stderr.startswith(f"usage: sh {Path(name).name} ") and not ran.stdout


@pytest.mark.parametrize("name, arguments", [
    ("resnext50/run_standalone_train.sh", ("0", "nowhere")), ("resnext50/run_eval.sh", ("0", "nowhere", "none.ckpt", "CPU")),
    ("resnext50/run_distribute_train.sh", ("nowhere.json", "nowhere")), ("glore_res50/run_eval.sh", ("nowhere", "0", "no.ckpt"))])
def test_scripts_fail_where_their_step_fails(name, arguments):
    ran = script(name, *arguments)
    assert ran.returncode == 1 and "nowhere" in ran.stderr or "none.ckpt" in ran.stderr or "no.ckpt" in ran.stderr


@pytest.mark.slow
def test_scripts_train_and_evaluate(draw, tmp_path):
    data = draw(each=4)
    trained = script("resnext50/run_standalone_train.sh", 0, data, "--recipe", "digits", *SMALL, "--epochs", 1, "--out",
                     tmp_path / "run")
    assert trained.returncode == 0, trained.stderr
    assert "epoch:1 step:2, loss is " in trained.stdout
    measured = script("resnext50/run_eval.sh", 0, data, tmp_path / "run" / "best.ckpt", "CPU")
    assert measured.returncode == 0, measured.stderr
    assert "(TOP1)" in measured.stdout and "(TOP5)" in measured.stdout
