"""Declared references for the optimizers of ``custom.py``, without torch."""

from __future__ import annotations

REFERENCES = '''
def Lion(param, grad, exp_avg=0.0, *, lr, betas, weight_decay=0.0):
    """Moves by the sign of a mixture."""
    direction = sign(betas[0] * exp_avg + (1 - betas[0]) * grad)
    return {
        "param": param * (1 - lr * weight_decay) - lr * direction,
        "exp_avg": betas[1] * exp_avg + (1 - betas[1]) * grad,
    }


def SignMomentum(param, grad, momentum=0.0, *, lr, beta, weight_decay):
    grad = grad + weight_decay * param
    momentum = beta * momentum + grad
    return {"param": param - lr * sign(momentum), "momentum": momentum}


def Adamlike(param, grad, mean=0.0, square=0.0, *, lr, betas, eps, weight_decay, correct, step):
    mean = betas[0] * mean + (1 - betas[0]) * grad
    square = betas[1] * square + (1 - betas[1]) * grad * grad
    if correct:
        first = 1 - betas[0] ** step
        second = 1 - betas[1] ** step
    else:
        first = 1
        second = 1
    update = (mean / first) / (sqrt(square / second) + eps)
    return {
        "param": param - lr * (update + weight_decay * param), "mean": mean, "square": square,
    }


def Clipped(param, grad, velocity, *, lr, momentum, limit=None):
    velocity = momentum * velocity - lr * grad
    if limit is None:
        update = velocity
    else:
        update = max(-limit, min(limit, velocity))
    return {"param": param + update, "velocity": velocity}
'''
