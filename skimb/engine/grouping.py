"""Which nets can be trained as one population."""

import torch

from skimb.engine.chain_population import ChainPopulation
from skimb.engine.module_population import ModulePopulation
from skimb.engine.optim import SGD, Adam
from skimb.engine.population import loss_key, one_memory
from skimb.losses._base import unserved

_KINDS = (ChainPopulation, ModulePopulation)
#: what a population offers to losses
SERVES = frozenset({"batch", "every class"})
_FEW = 4  # members from which a group on the same rows is worth a population of its own


def kind_of(net, data):
    """The kind of population that takes a net, or None."""
    step = net.step
    if type(getattr(step, "optimizer", None)) not in (Adam, SGD):
        return None
    loss = step.loss
    if unserved(loss, SERVES) or net.order.sampler is not None or net.watches_batches():
        return None
    return next((kind for kind in _KINDS if kind.takes(net, data)), None)


def _structure(kind, net, data):
    """What members of one population must have in common, apart from their rows."""
    optimizer, order = net.step.optimizer, net.order
    if isinstance(optimizer, Adam):
        rule = ("adam", optimizer.betas, optimizer.eps, float(optimizer.t[0]))  # one clock for all
    else:
        rule = ("sgd", optimizer.momentum, optimizer.nesterov)
    batches = (order.batch_size, order.shuffle, order.every_class)
    place = (str(optimizer.values[0].dtype), str(optimizer.values[0].device))
    return (kind, kind.structure(net, data), place, rule, batches)


def _same_rows(a, b):
    """Whether two jobs visit equal rows in the same order."""
    (net_a, data_a), (net_b, data_b) = a, b
    one, two = net_a.order, net_b.order
    if one.n != two.n or one.generator.initial_seed() != two.generator.initial_seed():
        return False
    if not torch.equal(one.generator.get_state(), two.generator.get_state()):
        return False
    if one.every_class and not (one.classes == two.classes).all():
        return False
    if data_a.sparse:
        return data_a.X is data_b.X or _same_csr(data_a.X, data_b.X)
    return one_memory(data_a.X, data_b.X) or torch.equal(data_a.X, data_b.X)


def _same_csr(a, b):
    if a.shape != b.shape or a.nnz != b.nnz:
        return False
    pairs = zip((a.indptr, a.indices, a.data), (b.indptr, b.indices, b.data), strict=True)
    return all(x is y or (x == y).all() for x, y in pairs)


def populations(jobs):
    """Sort jobs into groups to train: (kind or None, members, whether they share their rows)."""
    by_structure, groups = {}, []
    for job in jobs:
        kind = kind_of(*job)
        if kind is None:
            groups.append((None, [job], True))
        else:
            by_structure.setdefault(_structure(kind, *job), []).append(job)
    for (kind, *_), alike in by_structure.items():
        if kind is ModulePopulation and not (len(alike) > 1 and kind.works(*alike[0])):
            groups += [(None, [job], True) for job in alike]
            continue
        for group, shared in _by_rows(alike):
            members = _by_loss(group)
            if not shared:  # see Population._own_epoch
                members.sort(key=lambda job: -len(job[1]))
            groups.append((kind, members, shared))
    return groups


def _by_rows(alike):
    """Groups on the same rows; the few that are left have rows of their own."""
    found, groups, alone = [], [], []
    for job in alike:
        for group in found:
            if _same_rows(group[0], job):
                group.append(job)
                break
        else:
            found.append([job])
    for group in found:
        if len(group) >= _FEW or group[0][1].sparse:
            groups.append((group, True))
        else:
            alone += group
    return [*groups, (alone, False)] if alone else groups


def _by_loss(jobs):
    """Jobs whose losses can share a call side by side."""
    kinds = {}
    for job in jobs:
        kinds.setdefault(loss_key(*job), []).append(job)
    return [job for kind in kinds.values() for job in kind]


def members_within(max_memory, kind, job, shared):
    """Members that a population may have: a fixed function of shapes and of the bytes allowed."""
    net, data = job
    numbers = kind.numbers(net, data)
    if not shared:  # every member's rows are copied into the order of the epoch
        numbers += 2 * data.X.numel()
    return max(1, max_memory // (numbers * net.step.optimizer.values[0].element_size()))
