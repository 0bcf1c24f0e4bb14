"""The sparse boundary-matching layer against a dense mask written out sample by sample."""

import math

import numpy as np
import pytest
import torch

from tal.ops.boundary_matching import convolve_segments, map_cells, sample_segments, sampling_matrix


def dense_mask(cells, snippets, *, samples, per_sample, extension, end):
    """(T, N, M), one position at a time."""
    mask = np.zeros((snippets, samples, len(cells.place)))
    for column, (start, last) in enumerate(zip(cells.start_idx.tolist(), cells.last_idx.tolist(), strict=True)):
        stop = last + (end == "after")
        margin = (stop - start + 1.0) * extension
        low, high = start - margin, stop + margin
        step = (high - low) / (samples * per_sample - 1.0)
        for position in range(samples * per_sample):
            at = low + step * position
            fraction, down = math.modf(at)
            for snippet, weight in ((int(down), 1 - fraction), (math.ceil(at), fraction)):
                if 0 <= snippet < snippets:
                    mask[snippet, position // per_sample, column] += weight / per_sample
    return mask.astype(np.float32)


SHAPES = [(2, 4, 3, 0.5), (7, 5, 3, 0.5), (12, 8, 2, 0.25), (16, 32, 3, 0.5), (9, 6, 3, 0.0)]


@pytest.mark.parametrize(("snippets", "samples", "per_sample", "extension"), SHAPES)
@pytest.mark.parametrize("layout", ["start_end", "duration_start"])
@pytest.mark.parametrize("end", ["after", "last"])
@pytest.mark.parametrize("durations", [None, 2])
def test_equals_the_dense_mask(snippets, samples, per_sample, extension, layout, end, durations):
    rng = torch.Generator().manual_seed(snippets)
    options = {"samples": samples, "per_sample": per_sample, "extension": extension, "end": end}
    cells = map_cells(snippets, layout, durations)
    mask = torch.from_numpy(dense_mask(cells, snippets, **options))
    x = torch.randn(2, 3, snippets, generator=rng, requires_grad=True)
    weight = torch.randn(4, 3, samples, generator=rng, requires_grad=True)

    sampled = sample_segments(x, sampling_matrix(cells, snippets, **options, fold=False), samples)
    expected = torch.einsum("bct,tnm->bcnm", x, mask)
    torch.testing.assert_close(sampled, expected, atol=1e-5, rtol=1e-5)

    folded = convolve_segments(x, weight, sampling_matrix(cells, snippets, **options))
    reduced = torch.einsum("bcnm,hcn->mbh", expected, weight)
    torch.testing.assert_close(folded[:-1], reduced, atol=1e-4, rtol=1e-5)
    assert not folded[-1].any()

    pull = torch.randn(reduced.shape, generator=rng)
    wanted = torch.autograd.grad((reduced * pull).sum(), (x, weight), retain_graph=True)
    found = torch.autograd.grad((folded[:-1] * pull).sum(), (x, weight))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)
    with torch.no_grad():
        again = convolve_segments(x, weight, sampling_matrix(cells, snippets, **options))
    torch.testing.assert_close(again, folded, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("snippets", [1, 5, 8])
def test_both_layouts_hold_the_same_segments(snippets):
    first, second = map_cells(snippets, "start_end"), map_cells(snippets, "duration_start")
    pairs = [set(zip(each.start_idx.tolist(), each.last_idx.tolist(), strict=True)) for each in (first, second)]
    assert pairs[0] == pairs[1] == {(i, j) for i in range(snippets) for j in range(i, snippets)}
    assert first.place.tolist() == [i * snippets + j for i, j in zip(first.start_idx, first.last_idx, strict=True)]
    assert second.place.tolist() == [
        (j - i) * snippets + i for i, j in zip(second.start_idx, second.last_idx, strict=True)
    ]


def test_durations_limit_the_segments():
    for layout in ("start_end", "duration_start"):
        cells = map_cells(6, layout, 2)
        assert (cells.last_idx - cells.start_idx).max() == 1
        assert len(cells.place) == 11
    assert map_cells(6, "duration_start", 2).shape == (2, 6)
    filling = map_cells(3, "start_end").filling()
    assert filling.tolist() == [0, 1, 2, 6, 3, 4, 6, 6, 5]


def test_positions_just_before_the_first_snippet_take_all_of_it():
    cells = map_cells(4, "start_end")
    matrix = sampling_matrix(cells, 4, samples=3, per_sample=1, extension=0.25, fold=False)
    x = torch.tensor([[[8.0, 4.0, 2.0, 1.0]]])
    sampled = sample_segments(x, matrix, 3)[0, 0]  # segment 0, from -0.5 over 0.5 to 1.5
    assert sampled[:, 0].tolist() == [8.0, 6.0, 3.0]


def test_the_matrix_is_small():
    matrix = sampling_matrix(map_cells(100, "start_end"), 100)
    size = sum(each.numel() * each.element_size() for bags in matrix for each in bags)
    assert size < 128e6 / 8
