"""The models behind the optimizer, each against a slower way to the same number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad

from campaigns.optimizers.coordinates import COORDINATES, view
from campaigns.optimizers.forest import Forest
from campaigns.optimizers.gaussian_process import GaussianProcess, Kind, Rows
from campaigns.optimizers.grid import Grid, generator, whole_steps
from campaigns.optimizers.mixture import Member, Mixture, Scale, checkpoint
from campaigns.pareto import expected_volume, on_front, volume
from tests.campaigns.optimizers.test_every_optimizer import MIX, MIXED

Array = np.ndarray[Any, Any]


def some_rows(n: int = 14, width: int = 3, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    return Rows(
        points=rng.random((n, width)),
        values=rng.standard_normal(n),
        share=rng.uniform(0.5, 2.0, n),
        known=rng.uniform(0.0, 0.1, n),
        block=rng.integers(-1, 2, n),
    )


KINDS = [Kind(), Kind(nu=1.5), Kind(ard=False)]


@pytest.mark.parametrize("kind", KINDS, ids=["5/2", "3/2", "isotropic"])
@pytest.mark.parametrize("features", [0, 1])
def test_the_gradient_of_the_posterior_is_its_slope(kind: Kind, features: int) -> None:
    rows = some_rows(width=3 + features)
    process = GaussianProcess(3, kind, features=features, blocks=True)
    points = rows.points[:, :3]
    square = (points[:, None] - points[None]) ** 2
    square = square if kind.ard else square.sum(-1, keepdims=True)
    flat = np.ascontiguousarray(square.reshape(-1, square.shape[-1]).T)
    terms = [np.outer(c, c) for c in rows.points[:, 3:].T]
    terms.append(((rows.block[:, None] == rows.block) & (rows.block[:, None] >= 0)).astype(float))
    theta = process.start + 0.1

    def loss(t: Array) -> float:
        return process._loss(t, flat, rows, terms)[0]

    def slope(t: Array) -> Array:
        return process._loss(t, flat, rows, terms)[1]

    assert check_grad(loss, slope, theta) < 1e-4


def covariance(process: GaussianProcess, rows: Rows) -> Array:
    own = process._cross(rows.points, rows.points)
    own += process.between * ((rows.block[:, None] == rows.block) & (rows.block[:, None] >= 0))
    return np.asarray(own + np.diag(process.noise * rows.share + rows.known + 1e-8))


@pytest.mark.parametrize("kind", KINDS, ids=["5/2", "3/2", "isotropic"])
def test_rows_added_one_by_one_are_known_as_if_told_at_once(kind: Kind) -> None:
    rows, asked = some_rows(30), np.random.default_rng(1).random((9, 3))
    process = GaussianProcess(3, kind, blocks=True)
    process.attach(asked)
    process.condition(rows.some(slice(0, 20)), process.start)
    for i in range(20, 30):
        process.push(rows.points[i], rows.share[i], rows.known[i], int(rows.block[i]))
    cross = process._cross(rows.points, asked)
    whole = covariance(process, rows)
    mean = cross.T @ np.linalg.solve(whole, rows.values)
    variance = process.variance - np.einsum("ij,ij->j", cross, np.linalg.solve(whole, cross))
    for told in (process.of_candidates(rows.values), process.predict(asked, rows.values)):
        assert np.allclose(told[0], mean, atol=1e-8)
        assert np.allclose(told[1], variance, atol=1e-8)


def test_more_rows_than_there_was_room_for_are_known_too() -> None:
    rows = some_rows(200)
    process = GaussianProcess(3, Kind())
    process.attach(rows.points[:5])
    process.condition(rows.some(slice(0, 20)), process.start)
    for i in range(20, 200):
        process.push(rows.points[i])
    assert np.isfinite(process.of_candidates(rows.values)[0]).all()


def test_each_value_left_out_is_predicted_from_the_others() -> None:
    rows = some_rows(15)
    process = GaussianProcess(3, Kind(), blocks=True)
    process.condition(rows, process.start)
    mean, variance = process.leave_one_out(rows.values)
    whole, i = covariance(process, rows), 4
    others = np.delete(np.arange(15), i)
    solved = np.linalg.solve(whole[np.ix_(others, others)], whole[others, i])
    assert mean[i] == pytest.approx(solved @ rows.values[others])
    assert variance[i] == pytest.approx(whole[i, i] - solved @ whole[others, i])


def test_a_belief_takes_doubt_away_and_moves_no_mean_and_is_forgotten_without_a_trace() -> None:
    rows, asked = some_rows(20), np.random.default_rng(2).random((6, 3))
    process = GaussianProcess(3, Kind())
    process.attach(asked)
    process.condition(rows, process.start)
    before = process.of_candidates(rows.values)
    mark = process.mark()
    process.push(asked[0])
    during = process.of_candidates(rows.values)
    process.restore(mark)
    after = process.of_candidates(rows.values)
    assert np.array_equal(during[0], before[0])
    assert during[1][0] < before[1][0]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_forest_sees_a_step() -> None:
    points = np.random.default_rng(0).random((80, 2))
    forest = Forest(generator(1)).fit(points, (points[:, 0] > 0.5).astype(float))
    mean, variance = forest.predict(np.array([[0.1, 0.5], [0.9, 0.5]]))
    assert mean[0] < 0.2
    assert mean[1] > 0.8
    assert (variance > 0).all()


def test_hyperparameters_are_fitted_at_the_same_numbers_of_rows_however_one_gets_there() -> None:
    marks = [checkpoint(n) for n in range(1, 700)]
    assert marks[:40] == list(range(1, 41))
    assert marks == sorted(marks)
    assert all(n - checkpoint(n) <= 50 for n in range(1, 6000, 7))
    assert all(checkpoint(checkpoint(n)) == checkpoint(n) for n in range(1, 3000, 3))


def mixture(n: int, candidates: bool = True) -> tuple[Mixture, Array, Array]:
    grid, rng = Grid(MIXED), np.random.default_rng(3)
    raw = grid.raw(grid.draw(rng, n))
    base = grid.raw(grid.draw(np.random.default_rng(4), 60))
    members = [Member(view("roots", MIXED, base), k) for k in KINDS]
    made = Mixture(members, seed=1, candidates=base if candidates else None, forest=1, forest_view=members[0].view)
    return made, raw, np.sin(5 * raw[:, 0]) + raw[:, 1] + 0.01 * rng.standard_normal(n)


@pytest.mark.parametrize("n", [30, 47, 95])
def test_a_model_that_grew_row_by_row_says_the_same_bits_as_one_told_everything_at_once(n: int) -> None:
    grown, raw, values = mixture(n)
    for i in [5, 11, *range(max(12, n - 8), n + 1)]:
        grown.fit(raw[:i], values[:i])
    fresh, _, _ = mixture(n)
    fresh.fit(raw, values)
    asked = raw[:7] * 0.9
    assert np.array_equal(grown.standardised(asked), fresh.standardised(asked))
    assert np.array_equal(grown.of_candidates(), fresh.of_candidates())


def test_a_late_value_is_learned_as_if_it_had_come_in_its_turn() -> None:
    grown, raw, values = mixture(50)
    late = np.delete(np.arange(50), 20)
    grown.fit(raw[late], values[late])
    grown.fit(raw, values)
    fresh, _, _ = mixture(50)
    fresh.fit(raw, values)
    assert np.array_equal(grown.of_candidates(), fresh.of_candidates())


def test_a_value_far_below_all_others_is_seen_and_loses_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, raw, values = mixture(40)
    clean.fit(raw, values)
    spoiled = values.copy()
    spoiled[10] -= 40.0

    def harm() -> float:
        model, _, _ = mixture(40)
        model.fit(raw, spoiled)
        mean, variance, rows = model.left_out()
        z = (model.standard[rows] - mean) / np.sqrt(variance)
        assert int(np.argmin(z)) == 10
        return float(np.abs(model.predict(raw) - clean.predict(raw)).mean())

    doubted = harm()
    monkeypatch.setattr("campaigns.optimizers.mixture.OUTLIER", np.inf)
    assert doubted < harm()


def test_what_one_day_adds_to_all_its_values_is_not_taken_for_the_material() -> None:
    grid, rng = Grid(MIX), np.random.default_rng(5)
    raw = grid.raw(grid.draw(rng, 40))
    true, block = 2 * raw[:, 0] + np.sin(4 * raw[:, 1]), np.arange(40) % 2
    values = true + 1.5 * block + 0.01 * rng.standard_normal(40)
    asked = grid.raw(grid.draw(rng, 200))
    wanted = 2 * asked[:, 0] + np.sin(4 * asked[:, 1])

    def error(blocks: Array | None) -> float:
        members = [Member(view("fractions", MIX, asked), k) for k in KINDS]
        model = Mixture(members, seed=1, blocks=blocks is not None)
        told = model.fit(raw, values, None, blocks).predict(asked)
        return float(np.std(told - wanted))

    assert error(block) < 0.5 * error(None)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_scale_of_values_does_not_matter(unit: float) -> None:
    values = np.random.default_rng(0).standard_normal(30)
    plain, scaled = Scale.of(values), Scale.of(values * unit)
    assert np.allclose(plain(values), scaled(values * unit))
    assert np.allclose(scaled.back(scaled(values * unit)), values * unit, rtol=1e-6)


def test_what_lies_below_all_that_was_seen_is_not_told_as_if_it_lay_beyond_all_measure() -> None:
    values = 10.0 ** np.arange(-9, 1)[::-1]
    scale = Scale.of(-values)
    worst = scale(-values).min()
    assert scale.back(scale(-values)) == pytest.approx(-values)
    assert -100 < float(scale.back(np.array([worst - 3.0]))[0]) < -1


def test_equal_values_have_a_scale() -> None:
    scale = Scale.of(np.full(5, 3.0))
    assert np.allclose(scale(np.full(5, 3.0)), 0.0)
    assert np.allclose(scale.back(np.zeros(2)), 3.0)


@pytest.mark.parametrize("name", COORDINATES)
@pytest.mark.parametrize("space", [MIX, MIXED], ids=["composition", "with settings"])
def test_coordinates_have_the_spread_of_a_uniform_variable(name: str, space: Any) -> None:
    grid = Grid(space)
    raw = grid.raw(grid.draw(np.random.default_rng(0), 4000))
    see = view(name, space, raw)
    assert see(raw).std(axis=0) == pytest.approx(np.full(see.width, 12**-0.5), rel=0.02)


@given(st.integers(2, 9), st.integers(1, 5000), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_whole_steps_sum_to_the_whole_and_are_nearest(k: int, steps: int, seed: int) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.ones(k), 5)
    counts = whole_steps(shares, steps)
    assert (counts.sum(axis=1) == steps).all()
    assert (counts >= 0).all()
    assert np.abs(counts - shares * steps).max() <= 1.0 + 1e-6


def test_the_expected_volume_is_what_many_draws_say() -> None:
    rng = np.random.default_rng(0)
    front = np.array([[0.2, 0.9], [0.5, 0.6], [0.9, 0.1]])
    reference = np.array([0.0, 0.0])
    means, sds = np.array([[0.6, 0.7], [0.3, 0.3], [1.0, 0.05]]), np.array([[0.1, 0.2], [0.2, 0.1], [0.3, 0.05]])
    told = expected_volume(means, sds, front, reference)
    now = volume(front, reference)
    for i in range(3):
        draws = means[i] + sds[i] * rng.standard_normal((1000, 2))
        gains = [volume(np.vstack([front, d]), reference) - now for d in draws]
        assert told[i] == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / 1000**0.5)


def test_volumes_of_boxes() -> None:
    assert volume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.zeros(2)) == pytest.approx(3.0)
    assert volume(np.array([[1.0, 1.0, 1.0], [2.0, 0.5, 0.5]]), np.zeros(3)) == pytest.approx(1.25)
    assert volume(np.array([[-1.0, 2.0]]), np.zeros(2)) == 0.0


def test_the_front_is_what_nothing_beats() -> None:
    values = np.array([[1.0, 1.0], [0.5, 2.0], [0.5, 0.5], [1.0, 1.0]])
    assert on_front(values).tolist() == [True, True, False, True]
