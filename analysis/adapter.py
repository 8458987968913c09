"""Where version 0.1.0 documented `open_adapter`: code written for it goes on. The room is `analysis.adapters`."""

from analysis.adapters import AdaptedMatrix, Adapter, Projection, open_adapter
from analysis.common.errors import AdapterError

__all__ = ["AdaptedMatrix", "Adapter", "AdapterError", "Projection", "open_adapter"]
