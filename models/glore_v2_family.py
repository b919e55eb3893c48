"""The family of GloRe-ResNet101 and 200, on a pre-activation trunk."""

from __future__ import annotations

from .family import Family, Naming, PublishedResult
from .glore_family import ARGUMENTS, CARD, IDLE_UNIT, REPO_LINK, network, unit_sizes
from .residual import conv, norm, numbers_by_stage, trunk


def _sizes(arguments):
    width = arguments["stem_width"]
    ends = [conv(arguments["in_channels"], width, 7), norm(width), norm(32 * width)]
    return ends + trunk(arguments, width, norm_first=True) + unit_sizes(arguments)


def _read_arguments(weights):
    blocks = numbers_by_stage(weights, r"layer([2-5])\.Residual_Unit(\d+)\.BN_AC_Conv1\.conv\.weight", first=2)
    units = numbers_by_stage(weights, r"layer([2-5])\.Residual_Unit(\d+)_GloreUnit\.conv_extend\.2\.weight", first=2)
    stem_width, in_channels, _, _ = weights["layer1.conv.weight"].shape
    return {
        "layers": tuple(map(len, blocks)),
        "units": tuple(map(tuple, units)),
        "stem_width": stem_width,
        "in_channels": in_channels,
    }


GLORE_V2 = Family(
    name="glore_v2",
    class_name="GloReResNetV2",
    modules=("glorext.models.glore_v2", "glorext.models.glore_unit", "glorext.models.layers"),
    arguments=ARGUMENTS,
    sizes=_sizes,
    read_arguments=_read_arguments,
    classifier="classifier.",
    namings=(Naming("glore_v2", r"layer2\.Residual_Unit1\..+"),),
    before_relu=r".+",
    idle_while_zero=IDLE_UNIT,
    repo_link=REPO_LINK,
    networks=(
        network("glore_res101", (3, 4, 23, 3), ((), (1, 3), (3, 11, 19), ()), 50_300_200),
        network(
            "glore_res200",
            (3, 24, 36, 3),
            ((), (12, 18), (16, 24, 32), ()),
            70_424_872,
            PublishedResult(0.7995, 0.9489, "Ascend 910", f"{CARD} glore_res200 1.3, 1.5, 1.6"),
        ),
    ),
)
