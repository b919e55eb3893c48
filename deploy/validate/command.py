"""`glorext validate`: a backend's accuracy on a folder of pictures, whole, in shards, or until the answer is clear."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from glorext.deploy.parity.hops import load_inputs
from glorext.deploy.parity.measure import parity, read_parity
from glorext.deploy.runners.common import BACKENDS, DEVICES, Request, Run, check_request, join, take
from glorext.deploy.validate import stopping_rule
from glorext.deploy.validate.accuracy import FAIL, MAX_DROP, PASS, accuracy_line, claim_for, paths_of, truths
from glorext.deploy.validate.backends import prepare
from glorext.deploy.validate.custom_metrics import load_metric, measured
from glorext.deploy.validate.report import write_report
from glorext.deploy.validate.shards import merge, parse_shard, write_shard
from glorext.deploy.validate.verdict import EarlyStop, Validation, right_ones, validate
from glorext.hub.open_model import add_model_arguments, chosen_model
from glorext.models.answers import Results, read_results
from glorext.models.trained import TrainedModel
from glorext.runtime import AccuracyError, DataError, UsageError, set_device, write_json
from glorext.runtime.cli import parser
from glorext.train.damage import without_damage
from glorext.train.data import list_pictures
from glorext.train.pictures import Pictures, evaluation_part
from glorext.train.split import unseen

# Starting a backend takes long, and it starts once for each batch; pictures after the verdict are wasted.
BATCH = 250


def score_until_decided(
    run: Run,
    reference: Run | None,
    source: TrainedModel,
    pictures: Pictures,
    seed: int = 0,
    max_drop: float = MAX_DROP,
    batch: int = BATCH,
) -> tuple[Results, Results | None, EarlyStop]:
    """Score pictures in a seeded random order until a sequential test says whether top-1 is kept, or all of them.

    With `reference` each picture is compared with MindSpore's answer to it, which takes far fewer pictures than
    comparing the accuracy with the package's evidence.

    Returns:
        results and reference's results for the pictures that were scored, and where the test stopped.

    Raises:
        DataError: nothing to compare with, or only evidence for other classes.
    """
    total = len(pictures)
    if reference is not None:
        test = stopping_rule.against_mindspore(max_drop, total)
    else:
        claim = claim_for(source.evidence, pictures.paths, pictures.targets, len(source.labels))
        if claim is None or claim.basis == "other classes":
            raise DataError(
                expected="evidence for the classes of these pictures",
                where="--until_sure",
                do="Add --reference.",
                found="no evidence in the package" if claim is None else "evidence for all classes together",
            )
        test = stopping_rule.against_claim(claim.top1, max_drop, total)
    order, parts, others = np.random.default_rng(seed).permutation(total), [], []
    for start in range(0, total, batch):
        indices = order[start : start + batch]
        part = take(pictures, indices)
        parts.append(run(part))
        values = _right_by_path(parts[-1], source)
        if reference is not None:
            others.append(reference(part))
            theirs = _right_by_path(others[-1], source)
            values = {path: value - theirs[path] for path, value in values.items()}
        if test.add([values[pictures.paths[index]] for index in indices]):
            break
    stopped = EarlyStop(test.verdict, test.seen, total, test.limit, reference is not None, seed, stopping_rule.ERROR)
    return join(parts), join(others) if others else None, stopped


def _right_by_path(results: Results, source: TrainedModel) -> dict[str, int]:
    if results.failed:
        raise DataError(f"{results.failed[0]['path']}: {results.failed[0]['error']}", do="Mend or remove the picture.")
    paths = paths_of(results)
    return dict(zip(paths, right_ones(results, truths(paths, source.labels)).astype(int).tolist()))


def picked(results: Results, pictures: Pictures) -> Results:
    """The rows of `results` for `pictures`.

    Raises:
        DataError: some of them are not there.
    """
    wanted = set(pictures.paths)
    rows = [row for row, picture in enumerate(results.pictures) if picture["path"] in wanted]
    if len(rows) != len(wanted):
        missing = sorted(wanted - set(paths_of(results)))
        raise DataError(
            expected=f"answers for all {len(wanted)} pictures of {pictures.folder}",
            found=f"none for {len(missing)} of them, the first {missing[0]}",
            where=f"{results.backend} results",
        )
    return dataclasses.replace(results, logits=results.logits[rows], pictures=[results.pictures[row] for row in rows])


def make_parser():
    """The flags of `glorext validate`."""
    flags = parser(
        "validate",
        "Measure top-1 and top-5 of a model in a backend, and judge them by the package's evidence and, "
        "picture by picture, by MindSpore's answers.",
        "glorext validate resnext50-digits --data val/ --backend lite-cpp --reference --report report.html",
    )
    add_model_arguments(flags)
    flags.add_argument("--data", type=Path, help="folder with one folder of pictures for each class, or a list")
    flags.add_argument("--skip_corrupt", action="store_true", help="leave out pictures that cannot be decoded")
    what = flags.add_argument_group("what answers")
    what.add_argument(
        "--backend",
        choices=BACKENDS,
        default="lite-cpp",
        help="mindspore; lite: MindSpore Lite after "
        "the NumPy preprocessing; lite-cpp (default): the C++ program alone; onnx: onnxruntime",
    )
    what.add_argument(
        "--device", type=str.lower, choices=DEVICES, default="cpu", help="never replaced by another (cpu)"
    )
    what.add_argument("--device_id", type=int, default=0, help="which card")
    what.add_argument("--model", type=Path, help="a model that `glorext convert` wrote; without it, it is made now")
    what.add_argument("--results", type=Path, help="what `glorext infer` wrote, instead of running a backend")
    what.add_argument("--merge", type=Path, nargs="+", metavar="SHARD", help="all shards of one validation, instead")
    against = flags.add_argument_group("what it is compared with")
    against.add_argument(
        "--reference",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="MindSpore's answers: what `glorext eval --results` wrote; without FOLDER, MindSpore runs now",
    )
    against.add_argument(
        "--max_drop", type=float, default=MAX_DROP, help=f"how far top-1 may fall, a fraction (default {MAX_DROP})"
    )
    against.add_argument("--min_top1", type=float, help="demand this top-1 (a fraction) as well")
    flags.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="MODULE:FUNCTION",
        help="measure this too: a function (answers, true classes, class names) -> number or dict; repeatable",
    )
    less = flags.add_argument_group("fewer pictures, or several hosts")
    less.add_argument("--until_sure", action="store_true", help="random pictures, until the answer is clear")
    less.add_argument("--seed", type=int, default=0, help="of the pictures' order for --until_sure (default 0)")
    less.add_argument("--shard", metavar="i/n", help="score only part i of n and write it to the folder --out")
    flags.add_argument("--out", type=Path, help="write the validation as JSON to this file; with --shard a folder")
    flags.add_argument("--report", type=Path, help="write an HTML page to this file, and the same numbers beside it")
    flags.add_argument(
        "--parity",
        nargs="?",
        const="",
        metavar="FILE",
        help="show every hop in the report: what `glorext parity --out` wrote; without FILE, it is measured now",
    )
    flags.add_argument("--json", action="store_true", help="print the validation as JSON")
    return flags


def _check_flags(options) -> None:
    given = [name for name in ("results", "merge") if getattr(options, name)]
    impossible = (
        (not options.data and not given, "--data FOLDER, the pictures", "nothing"),
        (len(given) > 1, "either --results or --merge", "both"),
        (
            given and (options.until_sure or options.shard or options.model),
            "a backend that runs now, for --until_sure, --shard and --model",
            f"--{given[0] if given else ''}",
        ),
        (
            options.until_sure and (options.shard or options.min_top1),
            "--until_sure alone: it stops on its own",
            "--shard or --min_top1",
        ),
        (
            options.shard and (options.reference is not None or options.report or options.min_top1 or options.metric),
            "--reference, --report, --metric and --min_top1 with --merge: a shard judges nothing",
            "--shard",
        ),
        (options.shard and not options.out, "--out FOLDER for the shard", "nothing"),
        (options.reference == "" and not options.data, "--data FOLDER, for MindSpore to run on", "nothing"),
        (options.parity is not None and not options.report, "--report FILE, which shows the hops", "nothing"),
        (not 0 < options.max_drop < 1, "a fraction such as 0.005 for --max_drop", options.max_drop),
    )
    for wrong, expected, found in impossible:
        if wrong:
            raise UsageError(expected=expected, found=found)
    if options.shard:
        parse_shard(options.shard)
    check_request(_request(options))


def _request(options) -> Request:
    return Request(options.backend, options.device, options.device_id, options.model)


def main(argv: list[str]) -> int:
    """`glorext validate`: exit status 1 when the accuracy is not kept, and when too few pictures leave it open."""
    options = make_parser().parse_args(argv)
    _check_flags(options)
    metrics = [load_metric(text) for text in options.metric]
    options.data = options.data and evaluation_part(options.data)
    source = chosen_model(options)
    if not source.labels:
        truths([], source.labels)
    if options.shard:
        return _shard(options, source, _listed(options, source))
    pictures = _listed(options, source) if options.data else None
    results, reference, early_stop = _measured(options, source, pictures)
    validation = validate(source, results, reference, options.min_top1, options.max_drop, early_stop)
    wrong_metric = None
    try:
        values = measured(metrics, results, reference, truths(paths_of(results), source.labels), source.labels)
        validation = dataclasses.replace(validation, metrics=values)
    except DataError as error:  # what took hours is written and shown all the same
        wrong_metric = error
    if options.out:
        write_json(options.out, validation.to_dict())
    if options.report:
        write_report(options.report, validation, source, results, reference, pictures, _hops(options, source))
    _show(validation, results, source.labels, options.json)
    if wrong_metric:
        raise wrong_metric
    if validation.verdict == PASS:
        return 0
    raise AccuracyError(
        "; ".join(
            f"{check.name}: expected {check.demanded}, found {check.found}"
            for check in validation.checks
            if check.state != PASS
        )
        or "the package carries no evidence, so there is nothing to judge by",
        do="Do not deploy this model; look where it departs with `glorext parity --bisect`."
        if validation.verdict == FAIL
        else "Too few pictures to decide: give more, or compare them with MindSpore by --reference.",
    )


def _listed(options, source: TrainedModel) -> Pictures:
    """The pictures of --data, the same ones for every backend and for the reference."""
    pictures = unseen(list_pictures(options.data, source.labels), source.folder)
    return without_damage(pictures, options.skip_corrupt, quiet=False)


def _shard(options, source: TrainedModel, pictures: Pictures) -> int:
    shard = parse_shard(options.shard)
    with tempfile.TemporaryDirectory(prefix="glorext-validate-") as scratch:
        results = prepare(source, _request(options), Path(scratch))(shard.of_pictures(pictures))
    write_shard(options.out, shard, results, pictures)
    print(
        f"shard {options.shard}: {results.count} of {len(pictures)} pictures, in {options.out}; "
        f"join all {shard.of} with --merge"
    )
    return 0


def _measured(options, source: TrainedModel, pictures) -> tuple[Results, Results | None, EarlyStop | None]:
    with tempfile.TemporaryDirectory(prefix="glorext-validate-") as scratch:
        reference = None
        if options.reference:
            whole = read_results(Path(options.reference))
            reference = (lambda part: picked(whole, part)) if pictures else (lambda part: whole)
        elif options.reference == "":
            reference = prepare(source, Request("mindspore"), Path(scratch))
        if options.merge or options.results:
            results = merge(options.merge, source) if options.merge else read_results(options.results)
            if pictures:
                extra = set(paths_of(results)) - set(pictures.paths)
                if extra:
                    raise DataError(
                        expected=f"answers for the pictures of {options.data} alone",
                        found=f"{len(extra)} others, the first {min(extra)}",
                    )
                # What --skip_corrupt leaves out is not missed here either.
                failed = [one for one in results.failed if one["path"] in set(pictures.paths)]
                results = dataclasses.replace(results, failed=failed)
                results = results if failed else picked(results, pictures)
        else:
            run = prepare(source, _request(options), Path(scratch))
            if options.until_sure:
                return score_until_decided(run, reference, source, pictures, options.seed, options.max_drop)
            results = run(pictures)
        return results, reference(pictures) if reference else None, None


def _hops(options, source: TrainedModel):
    if options.parity is None:
        return None
    if options.parity:
        return read_parity(Path(options.parity), source)
    set_device("CPU")
    return parity(source, load_inputs(source, options.data))


def _show(validation: Validation, results: Results, labels: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        print(json.dumps(validation.to_dict()))
        return
    measured = validation.measured
    print(accuracy_line(results, labels))
    interval = "" if measured.low is None else f" (95 % interval {measured.low:.2%} to {measured.high:.2%})"
    print(f"{validation.name} in {validation.backend} on {validation.device}: top-1 {measured.top1:.2%}{interval}")
    for metric in validation.metrics:
        shown = [
            "nothing to measure" if value is None else f"{value:.6g}" for value in (metric.value, metric.mindspore)
        ]
        print(f"  {metric.name}: {shown[0]}" + (f" (MindSpore: {shown[1]})" if validation.mindspore else ""))
    for check in validation.checks:
        print(f"  {check.state:<9}  {check.name}: {check.found} (demanded: {check.demanded})")
    print(f"verdict: {validation.verdict}")
