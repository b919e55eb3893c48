"""Flags as users write them: either spelling, older names, and help for those that do not exist."""

import pytest

from glorext.runtime.arguments import CALLED, SAME, Parser, meant, spelled, unknown_flag

FLAGS = ["-h", "--help", "--data", "--val_dir", "--device", "--device_id", "--lr", "--old-versions", "--from"]


def small():
    parser = Parser(prog="glorext small", allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--data", required=True)
    parser.add_argument("--device", choices=("cpu", "gpu"))
    return parser


@pytest.mark.parametrize(
    "written, read",
    [
        ("--val-dir x", "--val_dir x"),
        ("--val-dir=a-b", "--val_dir=a-b"),
        ("--old_versions", "--old-versions"),
        ("--data_dir x", "--data x"),
        ("--data-path x", "--data x"),
        ("--images=x", "--data=x"),
        ("--platform GPU --device-id 1", "--device GPU --device_id 1"),
        ("--no_such x", "--no_such x"),
        ("-- --val-dir", "-- --val-dir"),
        ("a-b_c -h", "a-b_c -h"),
    ],
)
def test_flags_are_read_in_either_spelling_and_under_older_names(written, read):
    assert spelled(written.split(), FLAGS) == read.split()


def test_a_command_with_a_flag_of_an_older_name_keeps_it():
    assert spelled(["--images", "x"], ["--data", "--images"]) == ["--images", "x"]


@pytest.mark.parametrize(
    "written, wanted",
    [
        ("--learning_rate", "--lr"),
        ("--learning-rate", "--lr"),
        ("--vall_dir", "--val_dir"),
        ("--dataset", "--data"),
        ("--plattform", "--device"),
        ("--weights", "--from"),
        ("--LR", "--lr"),
        ("--quantize", None),
    ],
)
def test_the_flag_that_was_meant_is_found(written, wanted):
    assert meant(written, FLAGS) == wanted


def test_what_has_no_flag_is_named_without_one():
    assert unknown_flag(["--weights", "x"], ["--data", "MODEL"]) == (
        "there is no flag --weights: MODEL is written without a flag."
    )


def test_the_flags_of_another_program_are_left_alone():
    assert unknown_flag(["--data", "x", "train", "--epoch", "3"], ["--data"], ("train",)) is None


def test_names_of_the_tables_are_written_as_they_are_compared():
    names = [name for table in (SAME, CALLED.values(), [CALLED]) for row in table for name in row]
    assert all(name == name.lower() and "-" not in name for name in names)
    assert len({name for group in SAME for name in group}) == sum(map(len, SAME))


@pytest.mark.parametrize(
    "words, said",
    [
        ("m --dta x", "there is no flag --dta: did you mean --data? `glorext small --help` lists the flags.\n"),
        ("m", "the following arguments are required: --data. `glorext small --help` lists the flags.\n"),
        ("m --data x --device tpu", "argument --device: invalid choice: 'tpu' (choose from 'cpu', 'gpu')."),
        ("--data x --model m", "there is no flag --model: MODEL is written without a flag."),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        small().parse_args(words.split())
    assert end.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"glorext small: UsageError: {said}") and shown.count("\n") == 1


def test_a_parser_reads_the_processs_own_arguments(monkeypatch):
    monkeypatch.setattr("sys.argv", ["glorext", "m", "--data-dir", "x", "--platform=cpu"])
    assert vars(small().parse_args()) == {"model": "m", "data": "x", "device": "cpu"}
