"""What differs between the versions of scikit-learn that skimb supports, in one place.

The oldest is 1.6, the first with ``validate_data``, ``get_tags`` and ``__sklearn_tags__``.
"""

import sklearn

try:  # scikit-learn 1.9 and newer
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ModuleNotFoundError:

    class CallbackSupportMixin:
        """Stand-in without callbacks: ``hasattr(estimator, "set_callbacks")`` is false."""

        @property
        def set_callbacks(self):
            """Refuse, and say why."""
            raise AttributeError(
                f"{type(self).__name__}.set_callbacks needs scikit-learn 1.9 or newer, this is "
                f"{sklearn.__version__}; give skorch callbacks with `callbacks=` instead."
            )

    def with_callbacks(fit_method):
        """Leave a method as it is."""
        return fit_method


__all__ = ["CallbackSupportMixin", "with_callbacks"]
