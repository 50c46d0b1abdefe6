"""Write docs/performance.md, docs/roofline.md, and the tables of README and docs/web.md from benchmarks/results.

So text and numbers cannot part.

    python scripts/write_performance.py [--draw | --check]

With --draw the pictures are drawn anew too. With --check nothing is written; it fails where the page is not what the
files say.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from performance.larq import larq
from performance.layers import depthwise, layers
from performance.limits import limits
from performance.measurements import RESULTS
from performance.memory import memory
from performance.networks import networks
from performance.paper import figures
from performance.readme import README, readme
from performance.roofline import instructions, over_floors, roofline
from performance.training import training
from performance.web import WEB, web

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, ROOFLINE = DOCS / "performance.md", DOCS / "roofline.md"
PICTURES = ("networks", "fig1", "fig4")


def page() -> str:
    """The whole page."""
    parts = [
        introduction(),
        networks(),
        layers(),
        depthwise(),
        larq(),
        limits(),
        again(),
        figures(),
        memory(),
        over_floors(),
        instructions(),
        training(),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def introduction() -> str:
    return """
# Performance

Written by `scripts/write_performance.py` from the CSV files in [benchmarks/results](../benchmarks/results), which hold
the quartiles, versions, notes and commands too; `make bench-docs` writes it anew and a test compares the two.

How it is measured (`xnornet bench`): every implementation converts the network to its own format in one process and
loads and runs it in another. These take turns of a quarter of a second or less; one in which the rest of the machine
used more than a tenth of a core is thrown away and taken again; where no quiet moment came, the least disturbed ones
stand, and the time has a star. The first and last image's outputs are compared with the NumPy reference before anything
is timed; a wrong one is reported instead of timed. Times are medians of all runs. Float peers get their input as they
like it best (channels-last, normalised, norms folded, dense layers as such); ours gets uint8 pixels for networks and
channels-first floats for layers. int8 is calibrated on random data: it tells speed, not accuracy. Multiply-accumulates
(MACs) count padded taps, and a Winograd convolution counts as the direct one.

Rows "fixed-point stem" and "integer stem" are of the same files: the first convolution, the stem, in whole numbers.
That is asked for (`stem=`), as results then differ from PyTorch's by more than the order of sums
([engine.md](engine.md)).

A time whose quartiles lie far apart (in the CSV) is one to take for its size only: on the shared Xeon half of them,
elsewhere most depthwise layers and some rows of figure 4, whose 3x3:256x14x14:256 is slower than figure 1's.

"AMD EPYC" without a family is a CPU whose model was not recorded; it carries out more 512-bit instructions a cycle than
Zen 4 can, as Zen 5 does.

Each table names the commit that it is of; none is of the newest. The first convolution and the max pool behind it have
been one step since dc65362, and 1-bit weights of real inputs have had other kernels since 85bafa0. PyTorch runs a plain
module since 62ff446, and ran an exported program before, whose calls cost more: to small networks it matters. Systems
in a virtual machine may name another model than the CPU's: 167 is that of a Xeon without AMX.
"""


def again() -> str:
    return """
## Measure it yourself

```
pip install '.[train,bench,ncnn]'              # in a checkout
xnornet bench --net alexnet                    # or resnet18, googlenet, vgg19; --threads, --batch, --peers
xnornet bench --layer 3x3:256x14x14:256
xnornet reproduce fig1                         # or fig4
make bench-engine                              # layers, networks and figures, on an idle machine
```

`benchmarks/roofline.py`, `instructions.py`, `startup.py` and `training_cost.py` measure the rest; each table names its
CPU.

Larq Compute Engine has a converter that needs TensorFlow, and a runtime that needs an old NumPy, so it is timed in an
environment of its own, of Python 3.10 or 3.11, on files made before:

```
pip install . torch openvino larq larq-compute-engine tensorflow-cpu==2.15.1
python scripts/larq_files.py larq --net alexnet --layer 3x3:256x14x14:256
XNORNET_LARQ_FILES=larq xnornet bench --net alexnet --peers openvino-binary,larq
```

MNN is left out: its converter installs packages and sends usage logs.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--draw", action="store_true", help="draw the pictures too")
    how.add_argument("--check", action="store_true", help="write nothing; the status is 1 where a page is another")
    options = parser.parse_args()
    if options.draw:
        from xnornet.bench.plots import draw

        for picture in PICTURES:
            draw(picture, RESULTS, DOCS)
    for path, text in ((PAGE, page()), (ROOFLINE, roofline()), (README, readme()), (WEB, web())):
        if not options.check:
            path.write_text(text)
        elif path.read_text() != text:
            sys.exit(f"{path} is not what benchmarks/results says; run `make bench-docs`")


if __name__ == "__main__":
    main()
