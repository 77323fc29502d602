"""What bound losses require of their trainers, and how trainers that do not offer it refuse them."""

#: what a bound loss may require of whoever trains it, as the end of a sentence about the loss
REQUIREMENTS = {
    "batch": "couples the rows of a batch",
    "every class": "wants rows of every class in each batch",
    "inputs": "weighs rows by the norm of the output layer's inputs",
    "memory": "remembers the batches before",
    "adversary": "perturbs the rows",
}


def unserved(bound, serves):
    """What a bound loss requires and its consumer does not serve, in the order of `REQUIREMENTS`."""
    return [name for name in REQUIREMENTS if name in bound.requires and name not in serves]


def check_served(bound, serves, consumer, cure):
    """Refuse a bound loss that requires what its consumer does not serve.

    Parameters
    ----------
    bound : BoundLoss
        The loss.
    serves : frozenset of str
        Keys of `REQUIREMENTS`.
    consumer : str
        Who would train it, as the subject of a sentence.
    cure : str
        What the user can do instead.

    Raises
    ------
    ValueError
        One sentence that names the loss, what it requires, the consumer and the cure.
    """
    missing = unserved(bound, serves)
    if missing:
        what = " and ".join(REQUIREMENTS[name] for name in missing)
        raise ValueError(f"{bound.name} {what}, which {consumer} does not allow; {cure}.")
