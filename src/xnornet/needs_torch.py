"""Imported first by the packages that are of no use without PyTorch, to say so where it is missing."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":  # something that torch needs
        raise
    raise ModuleNotFoundError(
        "this part of xnornet needs PyTorch, which is not installed: pip install 'xnornet[train]'; to run a "
        "packed model take xnornet.load",
        name="torch",
    ) from None
