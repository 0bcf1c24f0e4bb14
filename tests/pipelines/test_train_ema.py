"""The running mean of the weights against its formula, and the exchange with the module's state."""

import pytest
import torch
from torch import nn

from tal.pipelines.train_ema import WeightMean


class Holder:
    """What the callback sees of a LightningModule."""

    def __init__(self):
        torch.manual_seed(0)
        self.method = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.mark.parametrize("warm_up", [False, True])
def test_mean_follows_its_formula_over_the_full_state(warm_up):
    holder, mean = Holder(), WeightMean(0.9, warm_up=warm_up)
    mean.on_fit_start(None, holder)
    expected = {name: tensor.clone() for name, tensor in holder.method.state_dict().items()}
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in holder.method.parameters():
                parameter += torch.randn_like(parameter)
        holder.method(torch.randn(4, 3))  # moves the buffers
        mean.on_train_batch_end(None, holder)
        decay = min(0.9, (1 + step) / (10 + step)) if warm_up else 0.9
        for name, tensor in holder.method.state_dict().items():
            smooth = tensor.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * tensor if smooth else tensor.clone()
    assert mean.steps == 5
    assert expected["1.num_batches_tracked"] == 5
    for name, tensor in expected.items():
        torch.testing.assert_close(mean.mean[name], tensor)


def test_mean_starts_from_the_initial_weights_and_is_no_alias():
    holder, mean = Holder(), WeightMean(0.9)
    mean.on_fit_start(None, holder)
    before = mean.mean["0.weight"].clone()
    with torch.no_grad():
        holder.method[0].weight.zero_()
    torch.testing.assert_close(mean.mean["0.weight"], before)


def test_exchange_twice_is_nothing():
    holder, mean = Holder(), WeightMean(0.5)
    mean.on_fit_start(None, holder)
    with torch.no_grad():
        holder.method[0].weight.add_(1)
    weights, kept = holder.method[0].weight.clone(), mean.mean["0.weight"].clone()
    mean.on_validation_start(None, holder)
    torch.testing.assert_close(holder.method[0].weight, kept)
    torch.testing.assert_close(mean.mean["0.weight"], weights)
    mean.on_validation_end(None, holder)
    torch.testing.assert_close(holder.method[0].weight, weights)


def test_state_goes_through_a_checkpoint():
    holder, mean = Holder(), WeightMean(0.5)
    mean.on_fit_start(None, holder)
    mean.update(holder.method)
    again = WeightMean(0.5)
    again.load_state_dict(mean.state_dict())
    with torch.no_grad():
        holder.method[0].weight.zero_()
    again.on_fit_start(None, holder)
    assert again.steps == 1
    torch.testing.assert_close(again.mean["0.weight"], mean.mean["0.weight"])
