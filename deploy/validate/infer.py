"""`glorext infer`: offline inference over a folder of pictures with the C++ program, and its accuracy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from glorext.deploy.contract.artifact import read_artifact
from glorext.deploy.runners.common import LITE_DEVICES
from glorext.deploy.runners.lite import infer
from glorext.deploy.validate.accuracy import accuracy_line
from glorext.runtime.cli import parser


def main(argv: list[str]) -> int:
    """`glorext infer`."""
    arguments = parser(
        "infer",
        "Run a converted model over a folder of pictures with the C++ program.",
        "glorext infer converted/resnext50-digits_lite.mindir --data val/ --out results/",
    )
    arguments.add_argument("model", type=Path, help="a model that `glorext convert` wrote")
    arguments.add_argument("--data", dest="images", required=True, type=Path, help="JPEG and PNG files in any depth")
    arguments.add_argument("--out", required=True, type=Path, help="new folder for results.json and logits.npy")
    arguments.add_argument("--device", type=str.lower, default="cpu", choices=LITE_DEVICES)
    arguments.add_argument("--device_id", type=int, default=0)
    arguments.add_argument(
        "--batch",
        type=int,
        default=0,
        help="pictures per call (default: the model's own; where that is open, cpu 2, Ascend the prepared sizes)",
    )
    arguments.add_argument("--workers", type=int, default=0, help="models side by side (default: one per core)")
    arguments.add_argument("--threads", type=int, default=0, help="threads per model (default 1)")
    arguments.add_argument("--decoders", type=int, default=0, help="pictures decoded at once (default: one per core)")
    arguments.add_argument(
        "--skip_corrupt",
        "--allow_broken",
        dest="allow_broken",
        action="store_true",
        help="leave out pictures that cannot be decoded, and list them in the results",
    )
    arguments.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run that was killed, interrupted or out of disk, from OUT.partial; without one, begin",
    )
    arguments.add_argument(
        "--accuracy", action="store_true", help="the class folders are the truth: print the accuracy"
    )
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = vars(arguments.parse_args(argv))
    as_json, wants_accuracy = options.pop("json"), options.pop("accuracy")
    results = infer(**options)
    if wants_accuracy:
        print(
            accuracy_line(results, read_artifact(options["model"]).labels), file=sys.stderr if as_json else sys.stdout
        )
    if as_json:
        print(
            json.dumps(
                {
                    key: getattr(results, key)
                    for key in ("count", "failed", "device", "throughput", "latency_ms", "stages_ms", "seconds")
                }
            )
        )
        return 0
    latency = results.latency_ms
    print(
        f"{results.count} pictures on {results.device}, {results.throughput:.1f} a second; latency p50 "
        f"{latency['p50']:.1f} ms, p90 {latency['p90']:.1f} ms, p99 {latency['p99']:.1f} ms"
    )
    return 0
