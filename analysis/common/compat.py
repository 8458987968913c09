"""What reaches past the public interface of other libraries, each with a test that fails when an upgrade breaks it."""

from __future__ import annotations


def keep_boft_from_compiling() -> None:
    """Make PEFT build, and load, BOFT layers without its CUDA extension, in this process.

    Otherwise the first layer compiles it, with output on the terminal and warnings if that fails. It is there for
    several butterfly factors, of which we use one, and does not take CPU tensors.
    """
    from peft.tuners.boft import layer

    layer._FBD_CUDA = False  # None stands for "not tried yet"
