"""From a directory to an open adapter, lazily. `recognise` says what kind it is, `open_adapter` opens it."""

from analysis.adapters.adapter import AdaptedMatrix, Adapter, Projection
from analysis.adapters.opening import open_adapter
from analysis.adapters.recognise import recognise

__all__ = ["AdaptedMatrix", "Adapter", "Projection", "open_adapter", "recognise"]
