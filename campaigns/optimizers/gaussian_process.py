"""An exact Gaussian process that is fast enough to be one of several.

Matern covariance (Rasmussen and Williams 2006, eq. 4.17) with one length scale per input or
one for all, an amplitude, a noise that is learned beside the known uncertainty of each value,
and a common shift of everything made in one block (a tray, a day). Hyperparameters sit at the
maximum of the posterior (algorithm 2.1 and eq. 5.9 there), found by L-BFGS with analytic
gradients. Features, the last columns of a point, enter linearly with a weight that is learned:
what an earlier campaign predicts there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

Array = np.ndarray[Any, Any]

ROOT3, ROOT5 = np.sqrt(3.0), np.sqrt(5.0)
JITTER = 1e-8  #: added to every variance so that factors exist
BLOCK_PRIOR = (-3.0, 1.0)  #: log variance between blocks, of standardised values
FEATURE_PRIOR = (-1.0, 1.5)  #: log variance of the weight of a feature
ROOM = 64  #: rows kept free for `push`


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What one process assumes.

    Parameters
    ----------
    nu
        Smoothness: 2.5 (twice differentiable) or 1.5 (once).
    ard
        Whether every input has a length scale of its own.
    length, amplitude, noise
        Mean and standard deviation of the normal priors on the logarithms of the length scales
        (in units of the inputs), of the variance and of the noise variance (of standardised values).
    """

    nu: float = 2.5
    ard: bool = True
    length: tuple[float, float] = (0.0, 1.0)
    amplitude: tuple[float, float] = (0.0, 0.7)
    noise: tuple[float, float] = (-3.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What is known, row by row.

    Parameters
    ----------
    points
        Inputs, (n, d).
    values
        Standardised values, (n,).
    share
        Part of the learned noise that a row carries: 1/k for the mean of k replicates, more
        than 1 for a row that is not believed.
    known
        Known variance of each value, from its stated uncertainty.
    block
        Number of the block it was made in, -1 for none.
    """

    points: Array
    values: Array
    share: Array
    known: Array
    block: Array

    def __len__(self) -> int:
        return len(self.values)

    def some(self, index: Any) -> Rows:
        """Some of them."""
        return Rows(
            points=self.points[index],
            values=self.values[index],
            share=self.share[index],
            known=self.known[index],
            block=self.block[index],
        )


class GaussianProcess:
    """See module. `theta` holds logarithms: length scales, variance, noise variance, features, blocks."""

    def __init__(self, width: int, kind: Kind, *, features: int = 0, blocks: bool = False) -> None:
        self.width, self.kind, self.features, self.blocks = width, kind, features, blocks
        self.scales = k = width if kind.ard else 1
        shared = [BLOCK_PRIOR] if blocks else []
        priors = [*[kind.length] * k, kind.amplitude, kind.noise, *[FEATURE_PRIOR] * features, *shared]
        self.prior_mean, self.prior_sd = np.array(priors).T
        start = np.log(0.5) + 0.25 * np.log(width)
        self.start = np.array([*[start] * k, 0.0, -4.0, *[FEATURE_PRIOR[0]] * features, *[p[0] for p in shared]])
        self.bounds = [*[(-4.0, 5.0)] * k, (-3.0, 3.0), (-9.0, 0.7), *[(-9.0, 2.0)] * features, *[(-9.0, 1.0)] * blocks]
        self.theta = self.start
        self.candidates: Array | None = None
        self._solved: tuple[Array, Array] | None = None

    # -- hyperparameters ------------------------------------------------------------------

    def fitted(self, rows: Rows, start: Array, most: int = 40) -> Array:
        """Hyperparameters at the maximum of their posterior that is found from `start`."""
        points, extra = rows.points[:, : self.width], rows.points[:, self.width :]
        square = (points[:, None, :] - points[None, :, :]) ** 2
        if not self.kind.ard:
            square = square.sum(-1, keepdims=True)
        flat = np.ascontiguousarray(square.reshape(-1, square.shape[-1]).T)
        terms = [np.outer(column, column) for column in extra.T]
        if self.blocks:
            terms.append(((rows.block[:, None] == rows.block) & (rows.block[:, None] >= 0)).astype(float))
        found: Any = minimize(
            self._loss,
            start,
            args=(flat, rows, terms),
            jac=True,
            method="L-BFGS-B",
            bounds=self.bounds,
            options={"maxiter": most, "ftol": 1e-6},
        )
        return np.asarray(found.x)

    def _loss(self, theta: Array, square: Array, rows: Rows, terms: list[Array]) -> tuple[float, Array]:
        """Minus the log posterior, but for a constant, and its gradient."""
        n, k, y = len(rows), self.scales, rows.values
        weight = np.exp(-2 * theta[:k])
        c, slope = self._correlation(np.sqrt(np.maximum((weight @ square).reshape(n, n), 1e-20)))
        variance, noise = np.exp(theta[k]), np.exp(theta[k + 1])
        covariance = variance * c
        for i, term in enumerate(terms, start=k + 2):
            covariance += np.exp(theta[i]) * term
        covariance.flat[:: n + 1] += noise * rows.share + rows.known + JITTER
        factor, bad = dpotrf(covariance, lower=1)
        if bad:
            return 1e10, np.zeros_like(theta)
        inverse = mirrored(dpotri(factor, lower=1)[0])
        alpha = inverse @ y
        q = inverse - alpha[:, None] * alpha
        away = (theta - self.prior_mean) / self.prior_sd
        loss = 0.5 * y @ alpha + np.log(factor.diagonal()).sum() + 0.5 * away @ away
        gradient = np.empty_like(theta)
        gradient[:k] = 0.5 * variance * weight * (square @ (q * slope).ravel())
        gradient[k] = 0.5 * variance * np.vdot(q, c)
        gradient[k + 1] = 0.5 * noise * (q.diagonal() @ rows.share)
        for i, term in enumerate(terms, start=k + 2):
            gradient[i] = 0.5 * np.exp(theta[i]) * np.vdot(q, term)
        return float(loss), gradient + away / self.prior_sd

    def _correlation(self, r: Array) -> tuple[Array, Array]:
        """Correlation at scaled distance r, and minus its slope divided by r."""
        if self.kind.nu == 2.5:
            e = np.exp(-ROOT5 * r)
            slope = (5 / 3) * (1 + ROOT5 * r) * e
            return slope * 0.6 + (5 / 3) * r * r * e, slope
        e = np.exp(-ROOT3 * r)
        return (1 + ROOT3 * r) * e, 3 * e

    def _covariance(self, r: Array) -> Array:
        """Covariance at scaled distances, which are written over: new memory costs more here than arithmetic."""
        r *= -ROOT5 if self.kind.nu == 2.5 else -ROOT3
        e = np.exp(r)
        if self.kind.nu == 2.5:
            square = r * (1 / 3)
            square *= r
            np.subtract(square, r, out=r)
            r += 1.0
        else:
            np.subtract(1.0, r, out=r)
        r *= e
        r *= self.variance
        return r

    # -- state for given hyperparameters --------------------------------------------------

    def attach(self, candidates: Array) -> None:
        """Candidates whose predictions are kept up to date row by row."""
        self.candidates = candidates

    def condition(self, rows: Rows, theta: Array) -> None:
        """Take these rows as known."""
        n, k = len(rows), self.scales
        self.theta, self.n, self._solved = theta, n, None
        self.variance, self.noise = float(np.exp(theta[k])), float(np.exp(theta[k + 1]))
        self.weights = np.exp(theta[k + 2 : k + 2 + self.features])
        self.between = float(np.exp(theta[-1])) if self.blocks else 0.0
        self.points = np.vstack([rows.points, np.zeros((ROOM, rows.points.shape[1]))])
        self.block = np.concatenate([rows.block, np.full(ROOM, -1)])
        covariance = self._cross(rows.points, rows.points)
        if self.blocks:
            covariance += self.between * ((rows.block[:, None] == rows.block) & (rows.block[:, None] >= 0))
        covariance.flat[:: n + 1] += self.noise * rows.share + rows.known + JITTER
        self.factor = np.zeros((n + ROOM, n + ROOM))
        self.factor[:n, :n] = np.linalg.cholesky(covariance)
        if self.candidates is not None:
            self.half = np.empty((n + ROOM, len(self.candidates)))
            self.half[:n] = solve_triangular(
                self.factor[:n, :n], self._cross(rows.points, self.candidates), lower=True, check_finite=False
            )
            self.doubt = self._own(self.candidates) - np.einsum("ij,ij->j", self.half[:n], self.half[:n])

    def push(self, point: Array, share: float = 1.0, known: float = 0.0, block: int = -1) -> None:
        """One more row, hyperparameters as they are: a row of the factor, a row of the half-solved candidates."""
        n = self.n
        if n == len(self.points):
            self._enlarge()
        covariance = self._cross(self.points[:n], point[None])[:, 0]
        total = self._own(point[None])[0] + self.noise * share + known + JITTER
        if self.blocks and block >= 0:
            covariance += self.between * (self.block[:n] == block)
            total += self.between
        row = solve_triangular(self.factor[:n, :n], covariance, lower=True, check_finite=False)
        pivot = np.sqrt(max(total - row @ row, 1e-10))
        self.points[n], self.block[n] = point, block
        self.factor[n, :n], self.factor[n, n] = row, pivot
        if self.candidates is not None:
            new = (self._cross(point[None], self.candidates)[0] - row @ self.half[:n]) / pivot
            self.half[n] = new
            self.doubt = self.doubt - new * new
        self.n = n + 1

    def _enlarge(self) -> None:
        """Room for as many rows again as are kept free at first."""
        grow = ((0, ROOM), (0, 0))
        self.points, self.factor = np.pad(self.points, grow), np.pad(self.factor, ((0, ROOM), (0, ROOM)))
        self.block = np.concatenate([self.block, np.full(ROOM, -1)])
        if self.candidates is not None:
            self.half = np.pad(self.half, grow)

    def mark(self) -> tuple[int, Array | None]:
        """Where `restore` returns to, bit for bit."""
        return self.n, self.doubt if self.candidates is not None else None

    def restore(self, mark: tuple[int, Array | None]) -> None:
        """Forget the rows pushed since."""
        self.n, self._solved = mark[0], None
        if mark[1] is not None:
            self.doubt = mark[1]

    def _cross(self, a: Array, b: Array) -> Array:
        weight, d = np.exp(-self.theta[: self.scales]), self.width
        result = self._covariance(cdist(a[:, :d] * weight, b[:, :d] * weight))
        return result + (a[:, d:] * self.weights) @ b[:, d:].T if self.features else result

    def _own(self, a: Array) -> Array:
        """Variance of each point before anything is known."""
        result: Array = self.variance + (a[:, self.width :] ** 2) @ self.weights
        return result

    # -- predictions ----------------------------------------------------------------------

    def of_candidates(self, values: Array) -> tuple[Array, Array]:
        """Mean and variance at the attached candidates.

        `values` may be shorter than the rows: those pushed beyond count as believed, with
        their own predicted mean, which moves no mean and only takes doubt away.
        """
        return self.solved(values) @ self.half[: len(values)], np.maximum(self.doubt, 1e-12)

    def predict(self, points: Array, values: Array) -> tuple[Array, Array]:
        """Mean and variance of the noiseless value at any points; `values` as above."""
        n, m = self.n, len(values)
        half = solve_triangular(
            self.factor[:n, :n], self._cross(self.points[:n], points), lower=True, check_finite=False
        )
        return self.solved(values) @ half[:m], np.maximum(self._own(points) - np.einsum("ij,ij->j", half, half), 1e-12)

    def solved(self, values: Array) -> Array:
        """The values, multiplied by the inverse of the factor: kept, as a search asks for the same again and again."""
        if self._solved is None or not np.array_equal(self._solved[0], values):
            m = len(values)
            self._solved = values, solve_triangular(self.factor[:m, :m], values, lower=True, check_finite=False)
        return self._solved[1]

    def joint(self, points: Array, values: Array) -> tuple[Array, Array]:
        """Mean and covariance of the noiseless values at some points."""
        n, m = self.n, len(values)
        half = solve_triangular(self.factor[:n, :n], self._cross(self.points[:n], points), lower=True)
        covariance = self._cross(points, points) - half.T @ half
        covariance.flat[:: len(points) + 1] += 1e-6 * self.variance
        return self.solved(values) @ half[:m], covariance

    def leave_one_out(self, values: Array) -> tuple[Array, Array]:
        """Mean and variance of each value predicted from all others (Rasmussen and Williams 2006, eq. 5.12)."""
        m = len(values)
        inverse = mirrored(dpotri(np.asfortranarray(self.factor[:m, :m]), lower=1)[0])
        variance = 1.0 / np.diag(inverse)
        return values - (inverse @ values) * variance, variance


def mirrored(lower: Array) -> Array:
    """The symmetric matrix whose lower triangle this is; what stands above is ignored."""
    whole: Array = np.tril(lower)
    whole += np.tril(lower, -1).T
    return whole
