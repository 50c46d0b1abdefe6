"""Imported first by `nn`, `models`, `train` and `convert`, to say what to install where PyTorch is missing."""

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
