"""Identities of the comp-sum family.

    python tests/bench/claims/comp_sum.py

Largest differences of values and gradients over 2,000 rows of random scores in float64.
"""

from claim import arguments, show

import torch  # isort: skip

from skimb.functional import comp_sum, cross_entropy, generalized_cross_entropy, mean_absolute_error


def pair(function, z, y, **params):
    z = z.clone().requires_grad_()
    value = function(z, y, **params).mean()
    return value, torch.autograd.grad(value, z)[0]


def main():
    arguments(__doc__)
    generator = torch.Generator().manual_seed(0)
    z = 3 * torch.randn(2000, 7, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 7, (2000,), generator=generator)

    def sum_exponential(z, y):
        return (torch.logsumexp(z, 1) - z.gather(1, y[:, None])[:, 0]).exp().sub(1).mean()

    def logistic(z, y):
        return (torch.logsumexp(z, 1) - z.gather(1, y[:, None])[:, 0]).mean()

    claims = {
        "tau = 0: sum of exponentials of differences": (0.0, sum_exponential, {}),
        "tau = 1: multinomial logistic loss (limit)": (1.0, logistic, {}),
        "tau = 1: CrossEntropy": (1.0, cross_entropy, {}),
        "tau = 1.7: generalized cross-entropy, q = 0.7": (
            1.7,
            generalized_cross_entropy,
            {"q": 0.7},
        ),
        "tau = 2 (from below): mean absolute error, 1 - p": (2.0 - 1e-9, mean_absolute_error, {}),
    }
    rows = []
    for name, (tau, other, params) in claims.items():
        (a, da), (b, db) = pair(comp_sum, z, y, tau=tau), pair(other, z, y, **params)
        rows.append(
            [name, f"{abs(a - b) / abs(b):.1e}", f"{(da - db).abs().max() / db.abs().max():.1e}"]
        )
    show(
        __doc__,
        [
            [
                "the family holds the logistic, sum-exponential, generalized cross-entropy and mean absolute error losses",
                "paper",
            ]
        ],
        ["identity", "relative difference of values", "of gradients"],
        rows,
    )


if __name__ == "__main__":
    main()
