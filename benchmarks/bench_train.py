"""Claim: training gives PyTorch's losses step by step; the tables show both throughputs, measured in turns.

    python benchmarks/bench_train.py [--peer_python PYTHON] [--only small resnext50 glore_res50] [--rounds 5]

Three tables: resnext50 on made pictures (32x32, batch 32; losses have to agree to 1e-3 for the first ten steps), and
resnext50 and glore_res50 on noise (224x224, batch 8; only the speed means something, the first losses are checked).
The made pictures have no areas of one color. With pictures that have, CIFAR-10's and digits, losses on an AMD EPYC were
2e-3 and 2e-2 apart within ten steps; PyTorch's own kernels for AVX2 and AVX-512 were at most 5e-4 apart.
Both frameworks start from the same weights and see the same batches in the same order: float32, no augmentation,
Momentum 0.9, weight decay 1e-4 for weights, label smoothing off. The learning rate is 0.001: at 0.01 the steps amplify
rounding so fast that PyTorch departs from itself, with oneDNN's kernels for another processor, by 1e-3 in step 6.

Both run on the same cores, in processes that stay; rounds alternate, the one that waits is stopped, and the first
round, which compiles, does not count. PyTorch takes part twice: as it is, and with its oneDNN held to AVX2, which is
what MindSpore's has to be held to on AVX-512 machines (docs/training_speed.md). `--peer_python` names a Python with
torch and numpy, if this one has no torch.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from measured import SMALL, Row, hand_over, made_pictures, options, peer_of
from train_rounds import ANSWER

BENCHMARKS = Path(__file__).parent
CAP = "ONEDNN_MAX_CPU_ISA"
ALLOWED = 1e-3


@dataclass
class Table:
    """What one table measures; the losses of the first `compared` steps have to agree."""

    network: str
    batch: int
    size: int
    per_round: int
    compared: int
    network_args: dict = field(default_factory=dict)


TABLES = {
    "small": Table("resnext50", 32, 32, 5, 10),
    "resnext50": Table("resnext50", 8, 224, 3, 3),
    "glore_res50": Table("glore_res50", 8, 224, 3, 3),
}
SMOKE = {"small": Table("resnext50", 4, 32, 2, 2, SMALL)}


@dataclass
class Side:
    """A framework in a process of its own, stopped between its rounds."""

    name: str
    command: list
    environment: dict
    rounds: list = field(default_factory=list)
    process: subprocess.Popen | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [str(part) for part in self.command],
            stdin=subprocess.PIPE,
            text=True,
            stdout=subprocess.PIPE,
            env=os.environ | self.environment,
        )

    def measure(self) -> None:
        """One round: append its [[loss, seconds], ...]."""
        process = self.process
        assert process and process.stdin and process.stdout, "start it first"
        process.send_signal(signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        answer = next((line for line in process.stdout if line.startswith(ANSWER)), None)
        if answer is None:
            raise SystemExit(f"{self.name} ended with status {process.wait()} after {len(self.rounds)} rounds")
        self.rounds.append(json.loads(answer.removeprefix(ANSWER)))
        process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate()

    @property
    def losses(self) -> list:
        return [loss for found in self.rounds for loss, _ in found]

    @property
    def seconds(self) -> float:
        """Seconds a step: the median over all rounds but the first."""
        return statistics.median(seconds for found in self.rounds[1:] for _, seconds in found)


def sides(table: Table, folder: Path, arguments) -> list[Side]:
    """glorext first, then PyTorch where there is one."""
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    common = [folder, table.network, table.per_round, cores]
    found = [
        Side(f"MindSpore, jit {level}", [sys.executable, BENCHMARKS / "train_mindspore.py", *common, level], {})
        for level in arguments.jit_levels
    ]
    if arguments.torch:
        command = [arguments.peer_python, BENCHMARKS / "train_pytorch.py", *common]
        found.append(Side(arguments.torch, command, {}))
        if " avx512f" in Path("/proc/cpuinfo").read_text():
            found.append(Side(f"{arguments.torch}, oneDNN at AVX2", command, {CAP: "AVX2"}))
    return found


def gap(side: Side, reference: Side, steps: int) -> float:
    """The largest relative difference of the first losses."""
    return max(abs(a - b) / abs(b) for a, b in zip(side.losses[:steps], reference.losses[:steps]))


def measure(table: Table, pictures: Path | None, arguments) -> list[Side]:
    """Measure and print one table; who took part, glorext first."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "network.json").write_text(json.dumps(table.network_args))
        subprocess.run(
            [
                sys.executable,
                BENCHMARKS / "train_prepare.py",
                folder,
                table.network,
                str(table.per_round * arguments.rounds),
                str(table.batch),
                str(table.size),
                *([pictures] if pictures else []),
            ],
            check=True,
        )
        taking_part = sides(table, Path(folder), arguments)
        try:
            for side in taking_part:
                side.start()
                side.measure()
            for _ in range(arguments.rounds - 1):
                for side in taking_part:
                    side.measure()
        finally:
            for side in taking_part:
                side.end()
    print(
        f"\n{table.network}, {table.size}x{table.size}, batch {table.batch}, {len(os.sched_getaffinity(0))} cores, "
        f"{arguments.rounds - 1} counted rounds of {table.per_round} steps\n"
    )
    print(
        f"| framework | s/step | pictures/s | throughput, MindSpore/this | first loss | loss {table.compared} "
        "| largest relative gap |"
    )
    print("|---|---|---|---|---|---|---|")
    ours = taking_part[0]
    for side in taking_part:
        print(
            f"| {side.name} | {side.seconds:.3f} | {table.batch / side.seconds:.1f} "
            f"| {side.seconds / ours.seconds:.2f} | {side.losses[0]:.6f} | {side.losses[table.compared - 1]:.6f} "
            f"| {gap(side, ours, table.compared):.1e} |"
        )
    if not arguments.torch:
        print("\nnot compared with PyTorch: no torch here; name a Python that has it with --peer_python")
    return taking_part


def rows_of(name: str, found: list[Side]) -> list[Row]:
    """What is handed over of a table."""
    ours, *others = found
    rows = [
        Row(name if not rank else f"{name}, {side.name}", "s/step", ours.seconds, side.name, side.seconds)
        for rank, side in enumerate(others)
    ]
    return rows or [Row(name, "s/step", ours.seconds)]


def main() -> None:
    """Print the tables; status 1 if the losses of one of them do not agree."""
    parser = options(__doc__, peer=True)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--rounds", type=int, default=5, help="the first one does not count")
    parser.add_argument("--jit_levels", nargs="+", default=["O0"])
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("--rounds: expected 2 or more, since the first one does not count")
    arguments.torch = peer_of(arguments, "torch")
    tables = {name: TABLES[name] for name in arguments.only}
    if arguments.smoke:
        tables, arguments.rounds, arguments.torch = SMOKE, 2, None  # the peer has the whole network alone
    rows, agree = [], []
    with tempfile.TemporaryDirectory() as made:
        for name, table in tables.items():
            pictures = None
            if name == "small":
                pictures = made_pictures(Path(made) / "pictures", 1000, (table.size, table.size), ".png", classes=10)
            sides_of = measure(table, pictures, arguments)
            rows += rows_of(name, sides_of)
            agree += [gap(side, sides_of[0], table.compared) <= ALLOWED for side in sides_of]
    hand_over(arguments, __doc__, rows)
    if not all(agree):
        raise SystemExit(f"losses differ by more than {ALLOWED:.0e}")


if __name__ == "__main__":
    main()
