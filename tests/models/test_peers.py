"""torchvision's own ResNeXt50, with its own weights, gives its own logits here; and the way back."""

import numpy as np
import pytest

from glorext.models import create, read_checkpoint, save_checkpoint

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def peer(torch):
    """torchvision's network with random weights and the running statistics of a real pass, in evaluation mode."""
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    torch.manual_seed(0)
    net = torchvision.models.resnext50_32x4d(weights=None)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1  # the statistics of this one batch
        net.train()(torch.randn(8, 3, 128, 128))
    return net.eval()


def logits(net, pictures):
    import mindspore as ms

    return net.set_train(False)(ms.Tensor(pictures)).asnumpy()


@pytest.fixture
def expected(torch, peer):
    pictures = np.random.default_rng(1).normal(0, 1, (2, 3, 128, 96)).astype(np.float32)
    with torch.no_grad():
        return pictures, peer(torch.from_numpy(pictures)).numpy()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvision_weights_give_torchvision_logits(torch, peer, expected, tmp_path, suffix):
    path = tmp_path / f"peer{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": peer.state_dict(), "epoch": 3}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(peer.state_dict(), path)
    assert read_checkpoint(path).naming.name == "torchvision"
    pictures, theirs = expected
    assert theirs.std() > 0.1
    assert np.abs(logits(create("resnext50", checkpoint=path), pictures) - theirs).max() < 1e-4
    # The pool's padding is not a matter of taste.
    assert np.abs(logits(create("resnext50", checkpoint=path, stem_pool="same"), pictures) - theirs).max() > 1e-2


def test_our_weights_give_our_logits_in_torchvision(torch, peer, expected, tmp_path):
    import copy

    from safetensors.torch import load_file

    torch.save(peer.state_dict(), tmp_path / "peer.pth")
    net = create("resnext50", checkpoint=tmp_path / "peer.pth")
    save_checkpoint(net, tmp_path / "ours.safetensors", naming="torchvision")
    theirs = copy.deepcopy(peer)
    with torch.no_grad():
        for value in theirs.state_dict().values():
            value.zero_()
    theirs.load_state_dict(load_file(tmp_path / "ours.safetensors"), strict=True)
    pictures, expected_logits = expected
    with torch.no_grad():
        assert np.array_equal(theirs(torch.from_numpy(pictures)).numpy(), expected_logits)
