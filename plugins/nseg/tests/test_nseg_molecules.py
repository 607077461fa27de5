"""Pictures of molecules: their symbols and colours, and where their atoms stand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from nseg_artists import KEPT, PLACES, artists, between, drawn, lines, path
from torch_geometric.datasets import TUDataset
from torch_geometric.explain import Explanation

from zoo_core.errors import InputError
from zoo_nseg.molecule_layout import _beginnings, molecule_layout
from zoo_nseg.molecules import ATOMS, COLOURS, draw_molecule


def test_a_molecule_shows_symbols_in_their_colours():
    ax = draw_molecule(path(x=torch.eye(7)[[0, 1, 3, 5]]), atoms="mutag", positions=PLACES)
    assert [each.get_text() for each in ax.texts] == ["C", "N", "F", "Cl"]
    np.testing.assert_array_equal([each.get_position() for each in ax.texts], PLACES)
    expected = [to_rgba(COLOURS[symbol]) for symbol in ("C", "N", "F", "Cl")]
    np.testing.assert_allclose(drawn(ax, "atoms").get_facecolors(), expected)
    assert [each.get_color() for each in ax.texts] == ["white", "white", "black", "white"]


def test_a_molecule_shows_bonds_and_their_masks():
    ax = draw_molecule(path(), atoms="mutag", positions=PLACES, truth=[1, 0, 0, 0, 0, 0])
    assert set(lines(ax)) == set(lines(ax, "bonds"))
    assert len(lines(ax, "bonds")) == 3
    assert lines(ax)[between(PLACES, 0, 1)] == pytest.approx(KEPT)
    assert set(lines(ax, "truth")) == {between(PLACES, 0, 1)}
    assert not artists(ax, "node_mask")


def test_halos_of_a_molecule_follow_the_node_mask():
    mask = torch.tensor([[0.0], [0.5], [1.0], [0.2]])
    halo = drawn(draw_molecule(path(node_mask=mask), atoms="mutag"), "node_mask")
    np.testing.assert_allclose(halo.get_facecolors()[:, 3], [0, 0.3, 0.6, 0.12], atol=1e-7)
    hard = drawn(draw_molecule(path(node_mask=mask), atoms="mutag", hard=True), "node_mask")
    np.testing.assert_allclose(hard.get_facecolors()[:, 3], [0, 0.6, 0.6, 0], atol=1e-7)


def test_atoms_can_be_named_by_the_user_and_hydrogens_are_small():
    ax = draw_molecule(path(x=torch.eye(3)[[0, 1, 2, 0]]), atoms=["H", "Na", "C"])
    assert [each.get_text() for each in ax.texts] == ["H", "Na", "C", "H"]
    sizes = drawn(ax, "atoms").get_sizes()
    assert sizes[0] < sizes[1] == sizes[2]
    assert tuple(drawn(ax, "atoms").get_facecolors()[1]) == to_rgba("#dd77ff")


@pytest.mark.parametrize(
    ("x", "atoms", "said"),
    [
        (torch.eye(7)[:4], "mutagg", "atoms is 'mutagg'.*Did you mean mutag"),
        (torch.eye(7)[:4], "mutagenicity", r"x has shape \(4, 7\); expected 10 columns"),
        (torch.eye(7)[:4], ["C", "N"], "expected 2 columns, one each for C, N"),
        (torch.eye(7)[[0, 1, 2, 3]] * 2, "mutag", "row 0 of x is not one-hot"),
        (torch.eye(7)[:4] + torch.eye(7)[1], "mutag", "row 0 of x is not one-hot"),
        (torch.zeros(4, 7), "mutag", "row 0 of x is not one-hot"),
        (torch.full((4, 2), 0.5), ["C", "N"], "row 0 of x is not one-hot"),
    ],
)
def test_refuses_atoms_that_it_cannot_name(x, atoms, said):
    with pytest.raises(InputError, match=said):
        draw_molecule(path(x=x), atoms=atoms)


def ring(size, start=0):
    one = torch.arange(size)
    pairs = torch.stack([one, (one + 1) % size]) + start
    return torch.cat([pairs, pairs.flip(0)], dim=1)


def molecule(edge_index, nodes):
    return Explanation(
        x=torch.eye(7)[[0] * nodes],
        edge_index=edge_index,
        edge_mask=torch.rand(edge_index.shape[1], generator=torch.Generator().manual_seed(0)),
    )


def test_a_ring_is_laid_out_as_a_regular_polygon():
    ax = draw_molecule(molecule(ring(6), 6), atoms="mutag")
    bonds = [np.linalg.norm(np.subtract(*ends)) for ends in drawn(ax, "bonds").get_segments()]
    np.testing.assert_allclose(bonds, 1, atol=1e-3)
    places = drawn(ax, "atoms").get_offsets()
    np.testing.assert_allclose(np.linalg.norm(places - places.mean(0), axis=1), 1, atol=1e-3)


def test_the_parts_of_a_salt_stand_side_by_side():
    salt = molecule(torch.cat([ring(3, 1), ring(5, 4)], dim=1), 9)  # and atom 0 alone
    places = np.asarray(drawn(draw_molecule(salt, atoms="mutag"), "atoms").get_offsets())
    five, three, one = places[4:], places[1:4], places[:1]
    assert five[:, 0].max() + 1.4 < three[:, 0].min()
    assert three[:, 0].max() + 1.4 < one[:, 0].min()
    bonds = [np.linalg.norm(places[a] - places[b]) for a, b in salt.edge_index.T.tolist()]
    np.testing.assert_allclose(bonds, 1, atol=1e-3)


def test_a_molecule_is_laid_out_the_same_whatever_the_mask_and_order_of_edges():
    first = molecule(ring(7), 7)
    order = torch.randperm(14, generator=torch.Generator().manual_seed(1))
    second = molecule(ring(7)[:, order], 7)
    places = [
        drawn(draw_molecule(each, atoms="mutag"), "atoms").get_offsets() for each in (first, second)
    ]
    np.testing.assert_array_equal(*places)


def test_atoms_alike_and_long_chains_do_not_hide_each_other(recwarn):
    """A star with two long arms, where beginnings put alike atoms in one place."""
    star = [(0, leaf) for leaf in range(1, 5)] + [(4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 6)]
    places = molecule_layout(10, star)
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(10, 1)]
    assert distances.min() > 0.35
    assert np.ptp(places[:, 0]) > np.ptp(places[:, 1])
    assert not recwarn.list
    np.testing.assert_array_equal(places, molecule_layout(10, [(b, a) for a, b in star[::-1]]))


def test_every_layout_begins_with_atoms_apart():
    fork = nx.Graph([*nx.path_graph(8).edges, (0, 8), (0, 9)])
    spectral = nx.spectral_layout(fork)
    np.testing.assert_allclose(spectral[8], spectral[9], atol=1e-6)
    for begin in _beginnings():
        places = np.array([begin(fork)[node] for node in fork])
        assert len(np.unique(places.round(3), axis=0)) == 10


def test_layout_of_no_bonds_and_no_atoms():
    np.testing.assert_array_equal(molecule_layout(3, []), [[0, 0], [1.5, 0], [3, 0]])
    assert molecule_layout(0, []).shape == (0, 2)


@pytest.fixture(scope="module")
def mutag(tmp_path_factory):
    if "ZOO_DATA" not in os.environ:
        pytest.skip("needs nseg-mutag in ZOO_DATA")
    root = tmp_path_factory.mktemp("mutag")
    # Not copytree, which keeps the folder's mode: it may be read-only.
    (root / "MUTAG" / "raw").mkdir(parents=True)
    for file in (Path(os.environ["ZOO_DATA"]) / "nseg-mutag" / "MUTAG" / "raw").iterdir():
        shutil.copyfile(file, root / "MUTAG" / "raw" / file.name)
    return TUDataset(str(root), "MUTAG")


def crossing(first, second):
    """Whether two lines cross at an inner point of both."""

    def side(one, two, three):
        return np.cross(np.append(two - one, 0), np.append(three - one, 0))[2]

    (a, b), (c, d) = first, second
    return side(a, b, c) * side(a, b, d) < -1e-9 and side(c, d, a) * side(c, d, b) < -1e-9


def test_real_molecules_have_no_crossing_bonds_and_every_atom(mutag):
    for graph in mutag[[0, 1, 5]]:  # bonds of the last cross if laid out from a circle alone
        explanation = Explanation(
            x=graph.x, edge_index=graph.edge_index, edge_mask=torch.rand(graph.num_edges)
        )
        ax = draw_molecule(explanation, atoms="mutag")
        segments = np.array(drawn(ax, "bonds").get_segments())
        assert len(segments) == graph.num_edges // 2
        assert not any(
            crossing(first, second)
            for place, first in enumerate(segments)
            for second in segments[:place]
        )
        found = [ATOMS["mutag"].index(each.get_text()) for each in ax.texts]
        assert found == graph.x.argmax(1).tolist()
        lengths = np.linalg.norm(segments[:, 0] - segments[:, 1], axis=1)
        assert lengths.mean() == pytest.approx(1)
        assert lengths.min() > 0.5
        assert lengths.max() < 1.5


def test_real_symbols_have_the_bonds_that_chemistry_allows(mutag):
    """The order of the elements: a halogen at another column would sit inside rings."""
    for graph in mutag:
        bonds = nx.Graph(graph.edge_index.T.tolist()).degree
        for node, column in enumerate(graph.x.argmax(1).tolist()):
            symbol = ATOMS["mutag"][column]
            most = {"C": 4, "N": 4, "O": 2, "F": 1, "I": 1, "Cl": 1, "Br": 1}[symbol]
            assert bonds[node] <= most
