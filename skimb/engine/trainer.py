"""The epochs of one net or of many: the only loop over batches."""

import torch

from skimb.engine.bank import Bank
from skimb.engine.data import row_batches, stacked
from skimb.engine.signals import ended_by_callback, raised_by_code


class Trainer:
    """Trains the members of a bank; each keeps its own history and callbacks and stops on its own.

    Parameters
    ----------
    jobs : list of (EngineNet, TrainingData)
        Nets that were initialised and told that training begins; several must have a common structure.
    shared : bool, default=True
        Whether all members visit the same rows in the same order. Members on rows of their own must be
        sorted by falling number of rows, so that those with a whole batch left are the first ones.
    """

    def __init__(self, jobs, shared=True):
        self.bank = Bank(jobs, shared)
        self.nets, self.data = self.bank.nets, self.bank.data
        self.epoch = 0

    @property
    def alive(self):
        """Positions of members that have not finished."""
        return self.bank.alive

    @property
    def errors(self):
        """What members raised, by position."""
        return self.bank.errors

    def run(self, stop=lambda: False, until=None):
        """Train until every member has finished, or up to the epoch `until`; may be called again.

        `stop` is asked before each epoch. Afterwards the nets hold their weights.
        """
        bank = self.bank
        while bank.alive and not stop() and (until is None or self.epoch < until):
            self._notify_each("on_epoch_begin")
            if not bank.alive:
                break
            self._run_epoch()
            bank.settle()
            if any(self.nets[k].watches_weights() for k in bank.alive):
                bank.scatter()
            self.epoch += 1
            finished = {k for k in bank.alive if self.epoch >= self.nets[k].max_epochs}
            self._notify_each("on_epoch_end", finished)
            if bank.alive and bank.rates_changed():
                bank.refresh_rates()
        if bank.alive:
            bank.scatter()

    def keep(self, members):
        """Go on with these members only."""
        self._let_go(set(self.alive) - set(members))

    def _run_epoch(self):
        """Train one epoch and write it into the histories."""
        backend = self.nets[self.alive[0]].step.backend
        with torch.set_grad_enabled(backend.autograd):
            if self.bank.lent:
                self.nets[0].module_.train()
                epoch = [self._single_epoch(self.nets[0], self.data[0])]
            else:
                epoch = self._shared_epoch() if self.bank.shared else self._own_epoch()
        for k, (losses, sizes) in zip(self.alive, epoch, strict=True):
            self.nets[k].record_epoch(losses, sizes, "train")

    def _single_epoch(self, net, data):
        """Losses and sizes of the batches of one net, whose callbacks may listen to batches."""
        step = self.bank.step(0, 1)
        index, sizes = net.order.next()
        numbered = step.backend.numbered or (step.scheme is not None and step.scheme.numbered)
        batches = data.batches(
            index, sizes, numbered=numbered, epoch=net.epochs_before + self.epoch
        )
        watcher = net.batch_watcher(step)
        if watcher is None:
            losses = [step(batch) for batch in batches]
        else:
            losses = [watcher(batch) for batch in batches]
        return torch.stack(losses).tolist(), sizes

    def _shared_epoch(self):
        """Losses and sizes of the batches of each member, all on the same rows."""
        order = self.nets[0].order
        index, sizes = order.next()
        state = order.generator.get_state()
        for net in self.nets[1:]:  # so that going on later draws what it would have drawn
            net.order.generator.set_state(state)
        step = self.bank.step(0, len(self.alive))
        targets = zip(*(part.batches(index, sizes) for part in step.parts), strict=True)
        rows = row_batches(self.data[0].X, index, sizes)
        losses = [step(X, batch) for X, batch in zip(rows, targets, strict=True)]
        by_member = torch.stack(losses, 1).tolist()
        return [(own, sizes) for own in by_member]

    def _own_epoch(self):
        """The same with rows of its own for each member, which may be differently many.

        Three members with 100, 100 and 60 rows in batches of 40 make the windows (40, 40, 40), then
        (40, 40) and (20), then (20, 20): neighbours whose next batch has the same size go together.
        """
        streams, sizes = [], []
        for k in self.alive:
            index, own_sizes = self.nets[k].order.next()
            streams.append(self.data[k].batches(index, own_sizes))
            sizes.append(own_sizes)
        found = [[] for _ in self.alive]
        for turn in range(max(len(own) for own in sizes)):
            now = [own[turn] if turn < len(own) else 0 for own in sizes]
            low = 0
            while low < len(now):
                size, high = now[low], low + 1
                while high < len(now) and now[high] == size:
                    high += 1
                if size:
                    step = self.bank.step(low, high)
                    own = [next(stream) for stream in streams[low:high]]
                    X = stacked([batch.X for batch in own])
                    losses = step(X, [part.stacked(own) for part in step.parts])
                    for kept, loss in zip(found[low:high], losses.tolist(), strict=True):
                        kept.append(loss)
                low = high
        return list(zip(found, sizes, strict=True))

    def _notify_each(self, method, finished=frozenset()):
        """Tell each living member's net; what one raises, and what is finished, ends that member alone."""
        ended = set(finished) | (set(self.alive) & set(self.errors))
        for k in self.alive:
            if k in self.errors:
                continue
            try:
                self.nets[k].notify(method, dataset_train=self.data[k], dataset_valid=None)
            except KeyboardInterrupt as signal:
                if not raised_by_code(signal):
                    raise
                self.nets[k].interrupted = not ended_by_callback(signal)
                ended.add(k)
            except BaseException as error:  # carried to this member's caller, who raises it
                self.errors[k] = error
                ended.add(k)
        self._let_go(ended)

    def _let_go(self, members):
        """Release members that have stopped, failed, or trained all their epochs."""
        self.bank.release(set(members) & set(self.alive))
