"""A search's estimator as scikit-learn sees it where it is a list of pairs (name, classifier)."""

import copy
from collections import Counter
from inspect import isclass

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection._search import _search_estimator_has, _VisualBlock
from sklearn.utils import get_tags
from sklearn.utils._available_if import available_if
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, _routing_enabled
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_is_fitted

from skimb._core.inner import unfitted, weight_params

_ROUTED = {"scorer", "splitter"}  # what metadata are routed to beside the estimators


def checked_pairs(search):
    """The pairs (name, classifier) of a search over several estimators.

    Parameters
    ----------
    search : LossSearchCV
        Its ``estimator`` is a list.

    Returns
    -------
    list of tuple
        The pairs.

    Raises
    ------
    TypeError, ValueError
        If they are no pairs, a name cannot be one, or something is no classifier.
    """
    pairs = search.estimator
    if not pairs:
        raise ValueError(
            "estimator=[] holds nothing to search over; list pairs (name, classifier)."
        )
    for pair in pairs:
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise TypeError(f"estimator must list pairs (name, classifier), got {pair!r}.")
    names = [name for name, _ in pairs]
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise ValueError(
            f"estimator uses the name {twice[0]!r} more than once; give each classifier its own."
        )
    taken = _ROUTED | set(search.get_params(deep=False))
    for name, estimator in pairs:
        if not name or "__" in name:
            raise ValueError(
                f"An estimator cannot be called {name!r}: names are not empty, and '__' separates them "
                "from parameters."
            )
        if name in taken:
            raise ValueError(
                f"An estimator cannot be called {name!r}, which {type(search).__name__} itself uses; take "
                "another name."
            )
        if isclass(estimator):
            raise TypeError(
                f"The estimator {name!r} is a class; give an object, {estimator.__name__}()."
            )
        if not hasattr(estimator, "fit") or not _classifies(estimator):
            raise TypeError(
                f"The estimator {name!r} is no classifier to scikit-learn (a ClassifierMixin and BaseEstimator "
                f"with fit): {estimator!r}."
            )
    return pairs


def _classifies(estimator):
    try:
        return is_classifier(estimator)
    except AttributeError:  # it has no tags
        return False


def checked_grids(grids, names):
    """Grids by name, also where none was given.

    Parameters
    ----------
    grids : dict of str to (dict or list of dict), or None
        Grids of some estimators.
    names : list of str
        Names of the estimators.

    Returns
    -------
    dict
        Grids of all.

    Raises
    ------
    TypeError, ValueError
        If it is no dict by name, or a name is unknown.
    """
    wanted = f"{{{names[0]!r}: {{'alpha': [...]}}}}"
    if not isinstance(grids, (dict, type(None))):
        raise TypeError(
            f"With several estimators, param_grid is a dict of grids by name, as {wanted}, got {grids!r}."
        )
    unknown = [name for name in grids or {} if name not in names]
    if unknown:
        raise ValueError(
            f"param_grid has a grid for {unknown[0]!r}, which is none of the estimators {names}; grids are "
            f"given by name, as {wanted}."
        )
    for name, grid in (grids or {}).items():
        if not isinstance(grid, (dict, list, tuple, type(None))):
            raise TypeError(
                f"param_grid[{name!r}] must be a dict of lists or a list of such dicts, got {grid!r}."
            )
    return {name: (grids or {}).get(name) for name in names}


def fit_params_of(search, routed):
    """Parameters of each estimator's `fit`, by its name (None for a single one).

    Parameters
    ----------
    search : LossSearchCV
        Whose `estimator` they are for.
    routed : Bunch
        What scikit-learn routed.

    Returns
    -------
    dict
        Weights stand where the last step of a pipeline takes them.
    """
    if not search._several:
        given = {None: dict(routed.estimator.fit)}
        estimators = {None: search.estimator}
    else:
        estimators = dict(search.estimator)
        if _routing_enabled():
            given = {name: dict(routed[name].fit) for name in estimators}
        else:
            given = split_params(dict(routed.estimator.fit), list(estimators))
    return {
        name: params | weight_params(estimators[name], params.pop("sample_weight", None))
        for name, params in given.items()
    }


def split_params(params, names):
    """Fit parameters by estimator: weights are for all, others begin with a name."""
    own = {name: {} for name in names}
    for key, value in params.items():
        name, _, rest = key.partition("__")
        if key == "sample_weight":
            own = {n: {key: value} | p for n, p in own.items()}
        elif rest and name in own:
            own[name][rest] = value
        else:
            raise TypeError(
                f"fit takes sample_weight, groups and parameters of one estimator, as '{names[0]}__cost', "
                f"got {key!r}."
            )
    return own


def _answers(name):
    def check(self):
        if self._several and not hasattr(self, "best_estimator_") and self.refit:
            return True  # every classifier of the list will
        return _search_estimator_has(name)(self)

    return check


class SeveralEstimators(_BaseComposition):
    """What a search needs where its estimator may be a list of pairs.

    Stands before scikit-learn's ``BaseSearchCV``, whose methods serve single estimators.
    """

    @property
    def _several(self):
        return isinstance(self.estimator, list)

    def _alone(self):
        """This search over the first estimator only, for what all of them share."""
        alone = copy.copy(self)
        alone.estimator = checked_pairs(self)[0][1]
        return alone

    def get_params(self, deep=True):
        """Parameters of the search and, by ``name__parameter``, of its estimators.

        Parameters
        ----------
        deep : bool, default=True
            Whether to give those of the estimators too.

        Returns
        -------
        dict
            Parameters by name.
        """
        if self._several:
            return self._get_params("estimator", deep)
        return super().get_params(deep)

    def set_params(self, **params):
        """Set parameters of the search, one of its estimators, or ``name__parameter``.

        Parameters
        ----------
        **params : dict
            Parameters by name.

        Returns
        -------
        LossSearchCV
            Itself.
        """
        return self._set_params("estimator", **params)

    def __sklearn_clone__(self):
        if not self._several:
            return super().__sklearn_clone__()
        rest = copy.copy(self)
        rest.estimator = None
        cloned = super(SeveralEstimators, rest).__sklearn_clone__()
        cloned.estimator = [(name, unfitted(e)) for name, e in checked_pairs(self)]
        return cloned

    def _get_scorers(self):
        return self._alone()._get_scorers() if self._several else super()._get_scorers()

    def get_metadata_routing(self):
        """Where metadata go: to the estimators' ``fit``, the scorer and the splitter.

        Returns
        -------
        MetadataRouter
            scikit-learn's description of it.
        """
        if not self._several:
            return super().get_metadata_routing()
        router = MetadataRouter(owner=self)
        fit_to = {name: MethodMapping().add(caller="fit", callee=name) for name in ("fit", "split")}
        for name, estimator in checked_pairs(self):
            router.add(**{name: estimator}, method_mapping=fit_to["fit"])
        scores = (
            MethodMapping().add(caller="score", callee="score").add(caller="fit", callee="score")
        )
        router.add(scorer=self._get_scorers()[0], method_mapping=scores)
        return router.add(splitter=self.cv, method_mapping=fit_to["split"])

    @available_if(_answers("predict"))
    def predict(self, X):
        """Decide by the best estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels.
        """
        check_is_fitted(self)
        found = super().predict(X)
        # of several classes CatBoost gives a column
        return found if self._multilabel or np.ndim(found) == 1 else np.reshape(found, -1)

    @available_if(_answers("predict_proba"))
    def predict_proba(self, X):
        """Probabilities of the best estimator, or of the ensemble.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities.
        """
        check_is_fitted(self)
        return super().predict_proba(X)

    def __sklearn_tags__(self):
        if not self._several:
            return super().__sklearn_tags__()
        tags = self._alone().__sklearn_tags__()
        others = [get_tags(estimator) for _, estimator in self.estimator]
        tags.input_tags.sparse = all(other.input_tags.sparse for other in others)
        for name in ("multi_label", "multi_class"):
            found = [getattr(other.classifier_tags, name, True) for other in others]
            setattr(tags.classifier_tags, name, all(found))
        return tags

    def _sk_visual_block_(self):
        if not self._several or hasattr(self, "best_estimator_"):
            return super()._sk_visual_block_()
        names, estimators = zip(*checked_pairs(self), strict=True)
        details = [str(estimator) for estimator in estimators]
        return _VisualBlock("parallel", list(estimators), names=names, name_details=details)
