"""The other optimizers of torch, element by element, written once for floats and for :class:`Rounded`.

Sources. RMSprop: Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012; centred: Graves,
"Generating Sequences With Recurrent Neural Networks", 2013. Adagrad: Duchi et al., "Adaptive Subgradient
Methods for Online Learning and Stochastic Optimization", 2011. Adadelta: Zeiler, "ADADELTA: An Adaptive
Learning Rate Method", 2012. Adamax: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015,
algorithm 2. NAdam: Dozat, "Incorporating Nesterov Momentum into Adam", 2016. RAdam: Liu et al., "On the
Variance of the Adaptive Learning Rate and Beyond", 2020. Lion: Chen et al., "Symbolic Discovery of
Optimization Algorithms", 2023. Where torch documents another form than the paper (eps outside the root in
RMSprop, eps added to the gradient's size in Adamax, RAdam's eps beside the root), torch's counts.

The errors of the results come from :mod:`rounding`; scalars that torch computes in float32 beside the
tensors (``capturable`` and ``differentiable``, NAdam's running product) bring their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar

from .formulas import bias_correction
from .rounding import (
    PRECISIONS,
    Number,
    Rounded,
    known,
    larger,
    mix,
    positive,
    root,
    sign_of,
    size_of,
    value_of,
)

SINGLE = 2.0**-24
DOUBLE = 2.0**-53

Numbers = Sequence[Number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive(ABC):
    """What the groups of all of them have in common, by torch's names.

    ``decoupled``: weight decay acts on the parameter and not through the gradient. ``single``: scalars are
    float32 tensors instead of Python floats. ``unscaled``: the gradient was divided by a loss scale within
    the step. ``grad_scale`` and ``step_scale`` are departures that only a diagnosis tries.

    ``before`` and ``after`` name the values around a step in the order in which :meth:`derive` takes and
    gives them; both begin with the parameter, ``before`` goes on with the gradient. ``counted``: each tensor
    counts its steps. ``scalars``: states that are one float32 number whatever the type of the tensor.
    ``near``: for each of ``after`` the least error, in units of the value, that its operations have in any
    case; for the parameter in units of how far it moves, beside one unit of itself.
    """

    before: ClassVar[tuple[str, ...]] = ("param", "grad")
    after: ClassVar[tuple[str, ...]] = ("param",)
    counted: ClassVar[bool] = True
    scalars: ClassVar[frozenset[str]] = frozenset()
    near: ClassVar[tuple[float, ...]] = (0.0,)

    lr: float
    weight_decay: float = 0.0
    decoupled: bool = False
    maximize: bool = False
    single: bool = False
    unscaled: bool = False
    grad_scale: float = 1.0
    step_scale: float = 1.0

    def state(self) -> tuple[str, ...]:
        """Names of the state that a step leaves behind."""
        return self.after[1:]

    def initial(self, name: str) -> float:
        """What a state begins with when it does not exist yet."""
        return 0.0

    def needed(self) -> tuple[str, ...]:
        """What the record must hold after the step beside the states of the parameter's own shape."""
        return tuple(self.scalars)

    @abstractmethod
    def derive(self, count: float, values: Numbers) -> tuple[Number, ...]:
        """The values after step ``count`` (from 1)."""

    def gradient(self, param: Number, grad: Number) -> Number:
        """The gradient that counts: its sign by ``maximize``, coupled weight decay added."""
        if self.grad_scale != 1.0:
            grad = grad * self.grad_scale if abs(self.grad_scale) != 1.0 else -grad
        if self.maximize:
            grad = -grad
        if self.weight_decay and not self.decoupled:
            grad = grad + self.weight_decay * param
        return grad

    def kept(self, param: Number) -> Number:
        """The parameter after decoupled weight decay."""
        if self.weight_decay and self.decoupled:
            return (1.0 - self.lr * self.weight_decay) * param
        return param

    @property
    def rate(self) -> float:
        """The learning rate as the step uses it."""
        return self.lr * self.step_scale

    def corrected(self, like: Number, beta: float, count: float) -> Number:
        """``1 - beta ** count`` with the error that its computation has."""
        return known(like, *bias_correction(beta, count, SINGLE if self.single else DOUBLE))


@dataclass(frozen=True, slots=True, kw_only=True)
class RmspropSettings(Adaptive):
    """One group of ``torch.optim.RMSprop``."""

    before: ClassVar[tuple[str, ...]] = ("param", "grad", "square_avg", "momentum_buffer", "grad_avg")
    after: ClassVar[tuple[str, ...]] = ("param", "square_avg", "momentum_buffer", "grad_avg")
    near: ClassVar[tuple[float, ...]] = (4.0, 3.0, 1.0, 6.0)

    alpha: float
    eps: float
    momentum: float
    centered: bool
    eps_in_root: bool = False

    def state(self) -> tuple[str, ...]:
        """Names of the state that a step leaves behind."""
        momentum = ("momentum_buffer",) if self.momentum else ()
        return ("square_avg", *momentum, *(("grad_avg",) if self.centered else ()))

    def derive(self, count: float, values: Numbers) -> tuple[Number, ...]:
        """The values after a step."""
        param, grad, square, buffer, average = values
        grad = self.gradient(param, grad)
        square = self.alpha * square + (1.0 - self.alpha) * grad * grad
        under = square
        if self.centered:
            average = mix(average, grad, 1.0 - self.alpha)
            under = positive(square - average * average)
        denominator = root(under + self.eps) if self.eps_in_root else root(under) + self.eps
        if self.momentum:
            buffer = self.momentum * buffer + grad / denominator
            param = param - self.rate * buffer
        else:
            param = param - self.rate * grad / denominator
        return param, square, buffer, average


@dataclass(frozen=True, slots=True, kw_only=True)
class AdagradSettings(Adaptive):
    """One group of ``torch.optim.Adagrad``."""

    before: ClassVar[tuple[str, ...]] = ("param", "grad", "sum")
    after: ClassVar[tuple[str, ...]] = ("param", "sum")
    near: ClassVar[tuple[float, ...]] = (4.0, 1.0)

    lr_decay: float
    eps: float
    start: float
    accumulates: bool = True

    def initial(self, name: str) -> float:
        """What the sum of squares begins with."""
        return self.start

    def derive(self, count: float, values: Numbers) -> tuple[Number, ...]:
        """The values after step ``count``."""
        param, grad, total = values
        grad = self.gradient(param, grad)
        total = total + grad * grad if self.accumulates else grad * grad
        rate = self.rate / (1.0 + (count - 1.0) * self.lr_decay)
        if isinstance(param, Rounded):
            # The fused kernels compute the rate in the format of their arithmetic.
            return param - known(param, rate, 4.0 * param.precision.unit) * grad / (
                root(total) + self.eps
            ), total
        return param - rate * grad / (root(total) + self.eps), total


@dataclass(frozen=True, slots=True, kw_only=True)
class AdadeltaSettings(Adaptive):
    """One group of ``torch.optim.Adadelta``."""

    before: ClassVar[tuple[str, ...]] = ("param", "grad", "square_avg", "acc_delta")
    after: ClassVar[tuple[str, ...]] = ("param", "square_avg", "acc_delta")
    near: ClassVar[tuple[float, ...]] = (4.0, 3.0, 3.0)

    rho: float
    eps: float

    def derive(self, count: float, values: Numbers) -> tuple[Number, ...]:
        """The values after a step."""
        param, grad, square, moved = values
        grad = self.gradient(param, grad)
        square = self.rho * square + (1.0 - self.rho) * grad * grad
        delta = root(moved + self.eps) / root(square + self.eps) * grad
        moved = self.rho * moved + (1.0 - self.rho) * delta * delta
        return param - self.rate * delta, square, moved


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamaxSettings(Adaptive):
    """One group of ``torch.optim.Adamax``."""

    before: ClassVar[tuple[str, ...]] = ("param", "grad", "exp_avg", "exp_inf")
    after: ClassVar[tuple[str, ...]] = ("param", "exp_avg", "exp_inf")
    near: ClassVar[tuple[float, ...]] = (4.0, 6.0, 1.0)

    beta1: float
    beta2: float
    eps: float
    first_corrected: bool = True

    def derive(self, count: float, values: Numbers) -> tuple[Number, ...]:
        """The values after step ``count``."""
        param, grad, first, norm = values
        grad = self.gradient(param, grad)
        first = mix(first, grad, 1.0 - self.beta1)
        norm = larger(self.beta2 * norm, size_of(grad) + self.eps)
        if self.first_corrected:
            return param - self.rate * first / (norm * self.corrected(param, self.beta1, count)), first, norm
        return param - self.rate * first / norm, first, norm


@dataclass(frozen=True, slots=True, kw_only=True)
class NadamSettings(Adaptive):
    """One group of ``torch.optim.NAdam``."""

    before: ClassVar[tuple[str, ...]] = ("param", "grad", "exp_avg", "exp_avg_sq", "mu_product")
    after: ClassVar[tuple[str, ...]] = ("param", "exp_avg", "exp_avg_sq", "mu_product")
    near: ClassVar[tuple[float, ...]] = (4.0, 6.0, 3.0, 2.0)
    scalars: ClassVar[frozenset[str]] = frozenset({"mu_product"})

    beta1: float
    beta2: float
    eps: float
    momentum_decay: float
    second_corrected: bool = True
    looks_ahead: bool = True

    def initial(self, name: str) -> float:
        """The running product begins with one."""
        return 1.0 if name == "mu_product" else 0.0

    def derive(self, count: float, values: Numbers) -> tuple[Number, ...]:
        """The values after step ``count``."""
        param, grad, first, second, _ = values
        grad = self.gradient(param, grad)
        param = self.kept(param)
        mu, mu_error = self._momentum(count)
        mu_next, next_error = self._momentum(count + 1.0)
        # The running product is a float32 number beside the tensors, whatever their type.
        product = value_of(values[4]) * mu
        product_error = 2.0 * SINGLE + mu_error
        first = mix(first, grad, 1.0 - self.beta1)
        second = self.beta2 * second + (1.0 - self.beta2) * grad * grad
        under = second / self.corrected(param, self.beta2, count) if self.second_corrected else second
        denominator = root(under) + self.eps
        own, own_error = _share(1.0 - mu, mu * mu_error, product, product_error)
        ahead, ahead_error = _share(
            mu_next, mu_next * next_error, product * mu_next, product_error + next_error
        )
        scalar = 4.0 * (SINGLE if self.single else DOUBLE)
        param = param - known(param, self.rate * own, own_error + scalar) * grad / denominator
        if self.looks_ahead:
            param = param - known(param, self.rate * ahead, ahead_error + scalar) * first / denominator
        # It is below all normal numbers after some hundred steps.
        floor = PRECISIONS["float32"].floor
        return param, first, second, known(param, product, product_error, floor)

    def _momentum(self, count: float) -> tuple[float, float]:
        """The momentum of one step and its relative error."""
        exponent = count * self.momentum_decay
        unit = SINGLE if self.single else DOUBLE
        return self.beta1 * (1.0 - 0.5 * 0.96**exponent), unit * (4.0 + 0.1 * exponent)


def _share(above: float, above_error: float, product: float, product_error: float) -> tuple[float, float]:
    """``above / (1 - product)`` and its relative error, from one absolute and one relative error."""
    below = 1.0 - product
    if not below > 0.0:
        return 0.0, inf
    own = above_error / abs(above) if above else 0.0
    return above / below, own + product * product_error / below


@dataclass(frozen=True, slots=True, kw_only=True)
class RadamSettings(Adaptive):
    """One group of ``torch.optim.RAdam``."""

    before: ClassVar[tuple[str, ...]] = ("param", "grad", "exp_avg", "exp_avg_sq")
    after: ClassVar[tuple[str, ...]] = ("param", "exp_avg", "exp_avg_sq")
    near: ClassVar[tuple[float, ...]] = (4.0, 6.0, 3.0)

    beta1: float
    beta2: float
    eps: float
    first_corrected: bool = True
    rectified: bool = True

    def derive(self, count: float, values: Numbers) -> tuple[Number, ...]:
        """The values after step ``count``."""
        param, grad, first, second = values
        grad = self.gradient(param, grad)
        param = self.kept(param)
        first = mix(first, grad, 1.0 - self.beta1)
        second = self.beta2 * second + (1.0 - self.beta2) * grad * grad
        update = self.rate * first
        if self.first_corrected:
            update = update / self.corrected(param, self.beta1, count)
        factor, error = self._rectification(count)
        if factor:
            update = update * known(param, factor, error) / (root(second) + self.eps)
        elif error:
            update = update * known(param, 1.0, error)
        return param - update, first, second

    def _rectification(self, count: float) -> tuple[float, float]:
        """Rectification times bias correction of the root, and its relative error; 0 where the adaptive part
        is left out, with an error of inf where rounding may decide whether it is.
        """
        unit = SINGLE if self.single else DOUBLE
        longest = 2.0 / (1.0 - self.beta2) - 1.0
        bias, bias_error = bias_correction(self.beta2, count, unit)
        lost = 2.0 * count * self.beta2**count / bias
        length = longest - lost
        apart = unit * (8.0 * longest + (count + 8.0) * lost) + lost * bias_error
        if abs(length - 5.0) <= apart:
            return 0.0, inf
        if length < 5.0:
            return 0.0, 0.0
        factor = sqrt(bias)
        if self.rectified:
            factor *= sqrt(
                (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)
            )
        spread = apart * (1.0 / (length - 4.0) + 1.0 / (length - 2.0) + 1.0 / length)
        return factor, bias_error + spread + unit * (16.0 + 8.0 * longest / (longest - 4.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LionSettings(Adaptive):
    """One group of an optimizer of Lion's form; torch has none of its own."""

    before: ClassVar[tuple[str, ...]] = ("param", "grad", "exp_avg")
    after: ClassVar[tuple[str, ...]] = ("param", "exp_avg")
    near: ClassVar[tuple[float, ...]] = (2.0, 6.0)
    counted: ClassVar[bool] = False

    beta1: float
    beta2: float

    def derive(self, count: float, values: Numbers) -> tuple[Number, ...]:
        """The values after a step."""
        param, grad, first = values
        grad = self.gradient(param, grad)
        direction = sign_of(mix(first, grad, 1.0 - self.beta1))
        return self.kept(param) - self.rate * direction, mix(first, grad, 1.0 - self.beta2)
