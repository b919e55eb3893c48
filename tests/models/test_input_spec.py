"""An InputSpec is one description with one digest, and refuses what it cannot mean."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glorext.models import InputSpec
from glorext.runtime import UsageError


def test_defaults_are_the_published_imagenet_input():
    assert InputSpec().to_dict() == {
        "size": 224,
        "resize": 256,
        "resize_rule": "squash",
        "crop": "center",
        "interpolation": "bilinear",
        "channel_order": "RGB",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "layout": "NCHW",
    }


@given(
    st.integers(1, 512),
    st.integers(0, 64),
    st.sampled_from(["squash", "short_side"]),
    st.tuples(*[st.floats(-1, 1)] * 3),
    st.tuples(*[st.floats(0.01, 2)] * 3),
)
def test_json_and_back_is_the_same_spec_with_the_same_digest(size, more, rule, mean, std):
    spec = InputSpec(size=size, resize=size + more, resize_rule=rule, mean=mean, std=std)
    back = InputSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert back == spec and hash(back) == hash(spec) and back.digest() == spec.digest()


def test_the_digest_depends_on_every_value_and_on_nothing_else():
    changes = [{"size": 32}, {"resize": 300}, {"resize_rule": "short_side"}, {"mean": (0, 0, 0)}, {"std": (1, 1, 1)}]
    digests = {InputSpec().digest()} | {InputSpec(**change).digest() for change in changes}
    assert len(digests) == len(changes) + 1
    assert InputSpec(mean=[1, 0, 0]).digest() == InputSpec(mean=(1.0, 0.0, 0.0)).digest()
    # A published digest must stay what it is: evidence files quote it.
    assert InputSpec().digest() == "3f2df60635ffe5017a825fb191b09b3d60c65cffa436a813ba3d199dab662fcf"


@pytest.mark.parametrize(
    "values, key",
    [
        ({"size": "224"}, "size"),
        ({"size": 0}, "size"),
        ({"size": True}, "size"),
        ({"size": 224.0}, "size"),
        ({"resize": 100}, "resize"),
        ({"resize_rule": "stretch"}, "resize_rule"),
        ({"crop": "random"}, "crop"),
        ({"mean": (0, 0)}, "mean"),
        ({"mean": "abc"}, "mean"),
        ({"mean": (0, 0, float("nan"))}, "mean"),
        ({"std": (1, 1, 0)}, "std"),
        ({"channel_order": "BGR"}, "channel_order"),
        ({"layout": "NHWC"}, "layout"),
        ({"resise": 256}, "resise"),
    ],
)
def test_an_impossible_value_is_named(values, key):
    with pytest.raises(UsageError, match=key):
        InputSpec.from_dict(values)


def test_something_else_than_a_mapping_is_refused():
    with pytest.raises(UsageError, match="mapping"):
        InputSpec.from_dict([("size", 224)])
