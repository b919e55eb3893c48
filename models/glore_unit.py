"""The GloRe unit (Chen et al., 2018, arXiv:1811.12814): reasoning between regions on a graph of learned nodes."""

from mindspore import nn, ops
from mindspore.common.initializer import HeNormal, HeUniform, XavierUniform

WEIGHT_INITS = {"xavier_uniform": XavierUniform, "he_normal": HeNormal, "he_uniform": HeUniform}
FLOAT32 = {"fp16": False, "bf16": False, "fp32": True}


def weight_initializer(weight_init):
    """The initializer of a name; ValueError for an unknown one."""
    if weight_init not in WEIGHT_INITS:
        raise ValueError(f"weight_init: expected {', '.join(WEIGHT_INITS)}, found {weight_init!r}")
    return WEIGHT_INITS[weight_init]()


def norm(channels, gamma_init="ones"):
    """Batch norm of the GloRe networks: running = 0.92 running + 0.08 batch (`momentum` is the part that stays)."""
    return nn.BatchNorm2d(channels, eps=1e-4, momentum=0.92, gamma_init=gamma_init)


class InFloat32(nn.Cell):
    """Mixin: a cell that computes in float32 under every precision mode of its network.

    Casting inside `construct` is not enough: a cell set to float16 rounds its inputs on the way in, and the level
    "auto" rounds those of each convolution and product.
    """

    def add_flags_recursive(self, **flags):
        self.add_flags(**(flags | FLOAT32 if flags.keys() & FLOAT32.keys() else flags))
        for cell in self.cells():
            cell.add_flags_recursive(**flags)
        return self


class Conv2dInFloat32(InFloat32, nn.Conv2d):
    """A convolution that stays in float32."""


class BatchNorm2dInFloat32(InFloat32, nn.BatchNorm2d):
    """A batch norm that stays in float32."""


class SequenceInFloat32(InFloat32, nn.SequentialCell):
    """A sequence that takes its input as float32; its members follow the network."""


class GraphConvolution(InFloat32):
    """From coordinates to nodes, one graph convolution, and back (sections 3.2 to 3.4 of the paper, L = HW).

    The state S (N, s, L) and the projection P (N, n, L) give
        X = S P^T                               (N, s, n), summed over the L places, not averaged
        H = relu(conv1 over nodes of X + X)     (N, s, n), the paper's (I - A) X with a learned A
        R = conv2 over states of H              (N, s, n), the paper's state update
        Y = R P                                 (N, s, L).
    The sums over L and n leave float16's range, hence float32.
    """

    def __init__(self, states, nodes, init):
        super().__init__()
        self.states, self.nodes = states, nodes
        # Convolutions over 4-D tensors: with Conv1d, or Dense in 3-D, an exported model has a fixed batch.
        self.conv1 = Conv2dInFloat32(nodes, nodes, 1, has_bias=False, weight_init=init)
        self.conv2 = Conv2dInFloat32(states, states, 1, has_bias=False, weight_init=init)
        # Not nn.ReLU: a cell inside would take part in float16.
        self.relu = ops.ReLU()
        self.product, self.product_transposed = ops.BatchMatMul(), ops.BatchMatMul(transpose_b=True)
        self.add_flags_recursive(**FLOAT32)

    def construct(self, state, projection):
        """`state` (N, s, H, W) and `projection` (N, n, H, W) to Y (N, s, H, W)."""
        height, width = state.shape[2], state.shape[3]
        s = ops.reshape(state, (-1, self.states, height * width))
        p = ops.reshape(projection, (-1, self.nodes, height * width))
        x = ops.reshape(self.product_transposed(p, s), (-1, self.nodes, self.states, 1))
        # In 3-D: MindSpore Lite takes a transposition of the middle axes in 4-D for one of its layouts, and fails.
        h = ops.transpose(ops.reshape(self.relu(self.conv1(x) + x), (-1, self.nodes, self.states)), (0, 2, 1))
        h = ops.reshape(h, (-1, self.states, self.nodes, 1))
        r = ops.reshape(self.conv2(h), (-1, self.states, self.nodes))
        return ops.reshape(self.product(r, p), (-1, self.states, height, width))


class GloReUnit(nn.Cell):
    """x + conv(relu(BN(Y))), Y by `GraphConvolution` from S = conv(relu(BN(x))) and P = conv(relu(BN(x))).

    The last convolution starts at zero: a fresh unit is the identity, and that convolution learns from the first step,
    the rest of the unit from the second.

    Args:
        channels: C of the input and output (N, C, H, W).
        nodes: nodes of the graph; each has 2 * nodes states.
        init: initializer of the other convolutions.
    """

    def __init__(self, channels, nodes, init):
        super().__init__()
        states = 2 * nodes
        self.conv_state = self._branch(channels, states, init)
        self.conv_proj = self._branch(channels, nodes, init)
        self.gcn = GraphConvolution(states, nodes, init)
        # Y is beyond float16 until it is normalized.
        self.conv_extend = SequenceInFloat32(
            BatchNorm2dInFloat32(states, eps=1e-4, momentum=0.92),
            nn.ReLU(),
            nn.Conv2d(states, channels, 1, has_bias=False, weight_init="zeros"),
        )
        self.conv_extend.add_flags(**FLOAT32)

    @staticmethod
    def _branch(channels, out_channels, init):
        return nn.SequentialCell(
            norm(channels), nn.ReLU(), nn.Conv2d(channels, out_channels, 1, has_bias=False, weight_init=init)
        )

    def construct(self, x):
        return x + self.conv_extend(self.gcn(self.conv_state(x), self.conv_proj(x)))
