"""Small networks of every family, and weights for them in which nothing is trivial."""

from functools import cache, partial

import numpy as np
import pytest

UNITS = ((), (), (1,), ())
SMALL = {
    "resnext50": {"layers": (1, 2, 1, 1), "groups": 4, "width_per_group": 2, "stem_width": 8},
    "glore_res50": {"layers": (1, 1, 2, 1), "units": UNITS, "stem_width": 8},
    "glore_res101": {"layers": (1, 1, 2, 1), "units": UNITS, "stem_width": 8},
}


@cache
def _pictures():
    pictures = np.random.default_rng(7).normal(0, 1, (2, 3, 64, 96)).astype(np.float32)
    pictures.setflags(write=False)
    return pictures


@cache
def _weights(name, stem_pool):
    from mindspore.nn.utils import no_init_parameters

    from glorext.models import create, spec

    from . import numpy_networks

    with no_init_parameters():
        net = create(name, num_classes=5, **SMALL[name])
    shapes = {parameter.name: tuple(parameter.shape) for parameter in net.get_parameters()}
    forward = partial(numpy_networks.FORWARD[spec(name).family.name], stem_pool=stem_pool)
    return numpy_networks.settled_weights(shapes, forward, _pictures())


@pytest.fixture(params=sorted(SMALL))
def name(request):
    """A network of each family."""
    return request.param


@pytest.fixture
def small():
    """name -> arguments of a network of that family that is quick to build and run."""
    return SMALL


@pytest.fixture
def pictures():
    """float32 (2, 3, 64, 96)."""
    return _pictures()


@pytest.fixture
def weights():
    """(name, stem_pool) -> canonical weights of the small network with 5 classes, every value random."""
    return lambda name, stem_pool="same": dict(_weights(name, stem_pool))


@pytest.fixture(params=["graph", "pynative"])
def mode(request):
    """Both ways in which MindSpore runs a network."""
    import mindspore as ms

    ms.set_context(mode=ms.GRAPH_MODE if request.param == "graph" else ms.PYNATIVE_MODE)
    yield request.param
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.fixture(autouse=True)
def on_cpu():
    from glorext.runtime import set_device

    set_device("CPU")
