"""How strongly the level sets of a network bend, and what that allows an explanation to change.

Where a network's output stays the same, its gradient is the normal of a hypersurface, and turns as fast as that bends.
(Dombrowski et al. 2019, arXiv:1906.07983, Theorem 1.)
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.base import checks, chunks
from relevance.explanations.smoothing import SoftLeakyReLU
from relevance.networks.posterior import Posterior

# A smooth function: points [n, d] -> [n], the value at a point no matter of the others.
Scalar = Callable[[Tensor], Tensor]
# A matrix of second derivatives has the square of this many numbers, and its eigenvalues take the cube.
MOST_INPUTS = 4096
# Numbers in the matrices of second derivatives that are taken together.
VALUES_AT_ONCE = 8_000_000
# Of an output, relative: how near points must come to the level set, and in how many steps.
TOLERANCE, N_NEWTON = 1e-10, 100


@dataclass(frozen=True)
class Logit:
    """The mean logit of one class as a function of the few directions of images that it depends on.

    A dense first layer with weights W sees of an image only its part in the rows of W: g(x) = f(Q^T x), with Q an
    orthonormal basis of them. All derivatives of g across these directions are zero, so f has all its curvature.

    Attributes:
        function: f, of a point [r], in float64.
        basis: Q, [d, r].
    """

    function: Scalar
    basis: Tensor

    def coordinates(self, images: Tensor) -> Tensor:
        """Return Q^T x, [n, r], of images [n, ...] with d numbers each."""
        return images.flatten(1).to(self.basis) @ self.basis


def logit(posterior: Posterior, target: int) -> Logit:
    """Return the mean logit of the class ``target`` as a smooth function.

    Args:
        posterior: with smooth activations, such as :func:`relevance.explanations.softened` gives. One that starts with
            ``Flatten`` and ``Linear`` is reduced to the rows of that layer, all samples' together.
        target: the class.

    Raises:
        ValueError: the network has kinks, has too many inputs, or does not say how large its images are.
    """
    network = posterior.network
    if any(isinstance(module, (nn.ReLU, nn.LeakyReLU)) for module in network.modules()):
        raise ValueError(
            "the network has ReLUs, so its second derivatives are zero almost everywhere and say nothing of its kinks; "
            "it must be smooth, as attacks.softened(posterior, beta) is."
        )
    samples = {name: value.double() for name, value in posterior.samples.items()}
    double = copy.deepcopy(network).double()
    children = list(network.named_children())
    dense = len(children) > 1 and isinstance(children[0][1], nn.Flatten) and isinstance(children[1][1], nn.Linear)
    if isinstance(network, nn.Sequential) and dense:
        name = f"{children[1][0]}.weight"
        rows = samples[name].flatten(0, 1)
        # Directions that hold less than rounding errors are left out.
        _, sizes, directions = torch.linalg.svd(rows, full_matrices=False)
        basis = directions[sizes > 1e-12 * sizes[0]].T
        samples = {**samples, name: samples[name] @ basis}
        shape: tuple[int, ...] = (basis.shape[1],)
    elif posterior.image_shape is None:
        raise ValueError("the network does not say how large its images are; it must start with Flatten and Linear.")
    else:
        shape = posterior.image_shape
        basis = torch.eye(torch.Size(shape).numel(), dtype=torch.float64, device=posterior.device)
    checks.count("the number of directions that the network sees", basis.shape[1], at_most=MOST_INPUTS)
    single = [{name: value[index] for name, value in samples.items()} for index in range(len(posterior))]
    n_classes = chunks.call(double, single[0], basis.new_zeros(1, *shape)).shape[-1]
    checks.count("target", target, at_least=0, at_most=n_classes - 1)

    def function(points: Tensor) -> Tensor:
        # Where the whole image counts, it has its shape again.
        images = points.reshape(-1, *shape)
        return torch.stack([chunks.call(double, sample, images)[:, target] for sample in single]).mean(0)

    return Logit(function, basis)


def gradients(g: Scalar, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return gradients [n, d] and values [n] of g at points [n, d]."""
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        values = g(leaf)
        (found,) = torch.autograd.grad(values.sum(), leaf)
    return found, values.detach()


def hessians(g: Scalar, points: Tensor) -> Tensor:
    """Return the second derivatives of g at points [n, d]: [n, d, d], symmetric."""
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(g(leaf).sum(), leaf, create_graph=True)
        if not slopes.requires_grad:
            # The function is linear.
            return points.new_zeros(*points.shape, points.shape[1])
        # One component after the other, all points at once.
        rows = [
            torch.autograd.grad(slope.sum(), leaf, retain_graph=True, materialize_grads=True)[0]
            for slope in slopes.unbind(1)
        ]
    found = torch.stack(rows, dim=1)
    return (found + found.mT) / 2


@dataclass(frozen=True)
class Shape:
    """The level sets of a function at some points.

    Attributes:
        values: of the function, [n].
        gradients: [n, d].
        curvatures: principal curvatures, rising, [n, d - 1], per unit of length; positive where the gradient's lines
            spread, as those of |x|^2 do.
        bending: the norm of the Hessian on tangent vectors, [n]: how fast the gradient changes along the level set.
    """

    values: Tensor
    gradients: Tensor
    curvatures: Tensor
    bending: Tensor

    @property
    def normals(self) -> Tensor:
        """Unit normals [n, d]."""
        return functional.normalize(self.gradients, dim=1)

    @property
    def largest(self) -> Tensor:
        """The largest principal curvature in absolute value, [n]."""
        return self.curvatures.abs().amax(1)


def shape(g: Scalar, points: Tensor) -> Shape:
    """Return how the level sets of g bend at ``points``.

    With n = grad g / |grad g| the unit normal, P = 1 - n n^T the projection to the tangent space and H the second
    derivatives of g, the principal curvatures are the eigenvalues of P H P / |grad g| on the tangent space.

    Args:
        g: a smooth function, points [n, d] -> [n], d at least 2.
        points: [n, d].

    Raises:
        ValueError: the points are not [n, d], or the gradient vanishes at one, where there is no normal.
    """
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(f"points have shape {list(points.shape)}; they must be [n, d] with d at least 2.")
    parts = [_shape(g, some) for some in points.split(max(1, VALUES_AT_ONCE // points.shape[1] ** 2))]
    return Shape(**{name: torch.cat([getattr(one, name) for one in parts]) for name in Shape.__dataclass_fields__})


def _shape(g: Scalar, points: Tensor) -> Shape:
    slopes, values = gradients(g, points)
    sizes = slopes.norm(dim=1)
    if not (sizes > 0).all():
        raise ValueError("the gradient is zero at a point; there its level set has no normal, and no curvature.")
    normals = slopes / sizes[:, None]
    second = hessians(g, points)
    # H P = H - (H n) n^T, P H P = H P - n (n^T H P).
    on_tangent = second - (second @ normals[:, :, None]) * normals[:, None, :]
    inner = on_tangent - normals[:, :, None] * (normals[:, None, :] @ on_tangent)
    # The normal is an eigenvector of the eigenvalue 0; far below the others it comes first, and is cut off.
    reach = 2 * inner.abs().sum(2).amax(1) + 1
    below = inner - reach[:, None, None] * normals[:, :, None] * normals[:, None, :]
    eigenvalues = torch.linalg.eigvalsh(below)[:, 1:]
    # |H P| by the eigenvalues of (H P)^T H P = P H H P.
    squares = torch.linalg.eigvalsh(on_tangent.mT @ on_tangent)[:, -1].clamp(min=0)
    return Shape(values, slopes, eigenvalues / sizes[:, None], squares.sqrt())


def on_level(g: Scalar, points: Tensor, level: float) -> Tensor:
    """Bring points [n, d] to the level set where g is ``level``, by Newton's steps along the gradient.

    A step is x - (g(x) - c) grad g / |grad g|^2, with c the level.

    Raises:
        ValueError: a point cannot be brought there, as where the gradient vanishes on the way.
    """
    for _ in range(N_NEWTON):
        slopes, values = gradients(g, points)
        missing = values - level
        if (missing.abs() <= TOLERANCE * max(1.0, abs(level))).all():
            return points
        points = points - (missing / slopes.square().sum(1))[:, None] * slopes
    raise ValueError(
        f"the points could not be brought to the level set: after {N_NEWTON} Newton steps the output is off by "
        f"{missing.abs().max().item():.1e}; they must lie nearer to it, where the gradient is not zero."
    )


def level_path(g: Scalar, start: Tensor, end: Tensor, n_points: int) -> Tensor:
    """Return points on the level set of g through ``start``: those of the straight line to ``end``, brought back to it.

    The last point is that of the level set to which ``end`` is brought, not ``end`` itself.

    Args:
        g: a smooth function, points [n, d] -> [n].
        start, end: [d].
        n_points: at least 2, both ends among them.

    Returns:
        [n_points, d].

    Raises:
        ValueError: as for :func:`on_level`.
    """
    checks.count("n_points", n_points, at_least=2)
    level = gradients(g, start[None])[1].item()
    shares = torch.linspace(0, 1, n_points, dtype=start.dtype, device=start.device)[:, None]
    return on_level(g, start + shares * (end - start), level)


def weights_constant(posterior: Posterior, target: int) -> float:
    """Return B such that the Hessian's norm is at most beta B everywhere: with |grad g| >= c, Theorem 1's C is B / c.

    The Hessian of a dense network is the sum over its activations k of J_k^T diag(v_k s''(z_k)) J_k, with J_k the
    derivative of their inputs z_k by the image and v_k that of the output by the activations. All slopes s' are at most
    1, and s'' at most (1 - slope) beta / 4, so |J_k| is at most the product of the norms of the weights up to k, and
    |v_k| at most the product of the absolute weights after it.

    Args:
        posterior: a softened dense network: Flatten, Linear and :class:`SoftLeakyReLU` in turns. Of several samples, the
            mean of their constants counts.
        target: the class whose logit is g.

    Raises:
        ValueError: the network has other layers.
    """
    modules = dict(posterior.network.named_children())
    for module in modules.values():
        if not isinstance(module, (nn.Flatten, nn.Linear, SoftLeakyReLU)):
            raise ValueError(
                f"the network has a {type(module).__name__}; the constant is known for dense softened networks, of "
                "Flatten, Linear and SoftLeakyReLU."
            )
    weights = [
        posterior.samples[f"{name}.weight"].double()
        for name, module in modules.items()
        if isinstance(module, nn.Linear)
    ]
    slopes = [module.slope for module in modules.values() if isinstance(module, SoftLeakyReLU)]
    after = weights[-1][:, [target]].abs()
    norms = [torch.linalg.matrix_norm(weight, 2) for weight in weights]
    total = torch.zeros_like(norms[0])
    for k in reversed(range(len(slopes))):
        before = torch.stack(norms[: k + 1]).prod(0)
        total = total + (1 - slopes[k]) / 4 * after.amax((1, 2)) * before.square()
        after = after @ weights[k].abs()
    return total.mean().item()
