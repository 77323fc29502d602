"""Texts as rows of numbers: what counts as a text, and frozen embeddings."""

import logging
from collections.abc import Iterator, Mapping, Set
from functools import cache
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skimb._core.optional import require


def as_texts(owner, X):
    """A list of strings from a sequence or one column of texts; missing ones are empty.

    Parameters
    ----------
    owner : object
        Whose name messages give.
    X : iterable of str, or array or frame with one column
        Texts.

    Returns
    -------
    list of str
        The texts.

    Raises
    ------
    ValueError
        If X is one string, or has several columns.
    TypeError
        If an entry is neither a string nor missing, or X has no entries in an order.
    """
    name = type(owner).__name__
    if isinstance(X, str | bytes):
        raise ValueError(f"{name} takes several texts, got one string; put it in a list.")
    ordered = hasattr(X, "__iter__") and not isinstance(X, Mapping | Set)
    if not ordered or getattr(X, "shape", None) == ():
        raise TypeError(
            f"{name} takes a sequence or one column of texts, got an object of type {type(X).__name__}; put the "
            "texts in a list."
        )
    if len(shape := getattr(X, "shape", ())) > 1:
        if len(shape) != 2 or shape[1] != 1:
            raise ValueError(
                f"{name} takes texts of shape (n_samples,) or one column of them, got shape {tuple(shape)}; "
                "select the column with the text."
            )
        X = np.asarray(X, dtype=object)[:, 0]
    texts = list(X)
    for i, text in enumerate(texts):
        if isinstance(text, str):
            texts[i] = str(text)
        elif _missing(text):
            texts[i] = ""
        else:
            raise TypeError(
                f"{name} takes strings, and None or NaN for missing ones, got {text!r} in row {i}; "
                "convert it to str."
            )
    return texts


def _missing(value):
    if value is None or type(value).__name__ == "NAType":
        return True
    return isinstance(value, Real) and value != value


@cache
def _wordllama():
    """The static embedding that lies in wordllama's wheel; nothing is loaded from elsewhere."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    package = require("wordllama", extra="text")
    root.handlers[:] = handlers  # importing it sets up logging for everybody
    root.setLevel(level)
    # version 0.4.0 seeks the wheel's tokenizer in a folder that is not there, but finds it in a cache of this place
    folder = Path(package.__file__).parent
    return package.WordLlama.load(cache_dir=folder, disable_download=True)


class EmbeddingVectorizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Texts as the vectors of a frozen embedding model, by direction alone if wanted.

    .. math:: x\mapsto e(x)/\|e(x)\|

    Nothing is learned from the rows, so none is lost to it: a few rare texts are compared with what a model knows
    of words that they do not hold.

    Parameters
    ----------
    model : "wordllama" or callable, default="wordllama"
        "wordllama" is the static embedding of 256 dimensions that lies in the wheel of the package of this name
        (means of token vectors distilled from a large language model, 16 MB, English; ``pip install skimb[text]``);
        no network is used. A callable takes a list of strings and gives an array of one row each, for instance
        ``SentenceTransformer(...).encode``. A function pickles by its name and is not copied by
        :func:`sklearn.base.clone`, a bound method pickles and is copied with its model.
    normalize : bool, default=True
        Whether rows have Euclidean norm 1.
    batch_size : int in [1, inf), default=64
        Most texts that the model gets at once; they are sorted by length, so that little is padded.

    Attributes
    ----------
    model_ : "wordllama" or callable
        The model in use.
    n_features_out_ : int
        Dimensions of the embedding.

    Raises
    ------
    ImportError
        If `model` is "wordllama" and the package is not installed.
    ValueError
        If the model gives anything but one finite row of numbers for each text, or another width than in fit.
    TypeError
        If an entry is neither a string nor missing.

    Notes
    -----
    None, NaN, empty and blank texts become rows of zeros and are not shown to the model. Rows are float32. ``fit``
    asks the model for its width with one word.

    References
    ----------
    Miller 2024, WordLlama, https://github.com/dleemiller/WordLlama.

    Examples
    --------
    >>> import numpy as np
    >>> from skimb.preprocessing import EmbeddingVectorizer
    >>> def lengths(texts):
    ...     return [[len(t), t.count(" ")] for t in texts]
    >>> EmbeddingVectorizer(lengths).fit_transform(["one two", "", None, "four"])
    array([[0.98994946, 0.14142136],
           [0.        , 0.        ],
           [0.        , 0.        ],
           [1.        , 0.        ]], dtype=float32)
    """

    _parameter_constraints = {
        "model": [StrOptions({"wordllama"}), callable],
        "normalize": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, model="wordllama", *, normalize=True, batch_size=64):
        self.model = model
        self.normalize = normalize
        self.batch_size = batch_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the texts and ask the model for its width.

        Parameters
        ----------
        X : iterable of str, or array or frame with one column
            Texts.
        y : None
            Ignored.

        Returns
        -------
        EmbeddingVectorizer
            Itself.
        """
        as_texts(self, X)
        self.model_, self._normalizes, self._batch = self.model, self.normalize, self.batch_size
        self.n_features_out_ = self._n_features_out = self._embedded(["text"]).shape[1]
        return self

    def fit_transform(self, X, y=None):
        """Fit, then embed.

        Parameters
        ----------
        X : iterable of str, or array or frame with one column
            Texts.
        y : None
            Ignored.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out_)
            float32.
        """
        X = list(X) if isinstance(X, Iterator) else X  # it can be read once only
        return super().fit_transform(X, y)

    def transform(self, X):
        """Embed.

        Parameters
        ----------
        X : iterable of str, or array or frame with one column
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out_)
            float32.
        """
        check_is_fitted(self)
        texts = as_texts(self, X)
        found = np.zeros((len(texts), self.n_features_out_), np.float32)
        order = sorted((i for i, t in enumerate(texts) if t.strip()), key=lambda i: len(texts[i]))
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            vectors = self._embedded([texts[i] for i in rows])
            if vectors.shape[1] != self.n_features_out_:
                raise ValueError(
                    f"EmbeddingVectorizer: {self.model_!r} gave {vectors.shape[1]} dimensions and "
                    f"{self.n_features_out_} in fit; give a model of one width."
                )
            if self._normalizes:
                norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
                vectors = vectors / np.where(norms > 0, norms, 1)
            found[rows] = vectors
        return found

    def _embedded(self, texts):
        model = _wordllama().embed if isinstance(self.model_, str) else self.model_
        answer = model(texts)
        try:
            vectors = np.asarray(answer)
        except (
            ValueError,
            TypeError,
            RuntimeError,
        ) as error:  # ragged rows, tensors with gradients
            raise self._wrong(texts, f"a {type(answer).__name__} that makes no array") from error
        shape = f"an array of shape {vectors.shape} and type {vectors.dtype}"
        if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
            raise self._wrong(texts, shape)
        if len(vectors) != len(texts) or not vectors.shape[1]:
            raise self._wrong(texts, shape)
        with np.errstate(over="ignore"):
            vectors = vectors.astype(np.float32, copy=False)
        if not np.isfinite(vectors).all():
            raise self._wrong(texts, "numbers that are not finite in single precision")
        return vectors

    def _wrong(self, texts, got):
        return ValueError(
            f"EmbeddingVectorizer: {self.model_!r} must give {len(texts)} rows of finite numbers for as "
            f"many texts, got {got}."
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags
