"""The engine in its process: dispatch, threads, forks, memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xnornet import format, ops, reference
from xnornet.bench.procfs import processor_flags
from xnornet.bits import BitArray
from xnornet.engine import Model, available_isas, list_isas
from xnornet.errors import UnsupportedError
from xnornet.graph import PackedModel
from xnornet.ops import Window
from xnornet.preprocess import Preprocess

from .engine_cases import ISAS, model_of, pixels, random_bits, small_network


@pytest.mark.parametrize("isa", ISAS)
def test_whole_network(isa: str) -> None:
    network, x = small_network(), pixels(5)
    expected = reference.run(network, x)
    got = Model(network, isa=isa).run(x)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("isa", ISAS)
def test_same_bits_for_any_number_of_threads_and_any_batch(isa: str) -> None:
    network, x = small_network(), pixels(7)
    expected = Model(network, 1, isa=isa).run(x)
    for threads in (2, 3, 8):
        model = Model(network, threads, isa=isa)
        for _ in range(3):
            assert np.array_equal(model.run(x), expected)
    alone = Model(network, 1, isa=isa)
    for i in (6, 0, 3):
        np.testing.assert_array_equal(alone.run(x[i : i + 1])[0], expected[i])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("batch", [1, 5, 13, 200])
def test_same_bits_of_float_sums(isa: str, binary: bool, batch: int) -> None:
    """Sums of reals depend on their order, which must not depend on how the work is split."""
    rng = np.random.default_rng(batch)
    layer: ops.Op
    if binary:
        layer = ops.BinaryWeightLinear(name="head", inputs=("input",), weight=random_bits(rng, 40, 777))
    else:
        weight = rng.standard_normal((40, 777)).astype(np.float32)
        layer = ops.Linear(name="head", inputs=("input",), weight=weight)
    model = model_of((1, 1, 777), [layer])
    x = rng.standard_normal((batch, 777, 1, 1)).astype(np.float32)
    expected = Model(model, 1, isa=isa).run(x)
    for threads in (2, 3, 5):
        assert np.array_equal(Model(model, threads, isa=isa).run(x), expected)
    alone = Model(model, 1, isa=isa)
    assert np.array_equal(np.concatenate([alone.run(x[i : i + 1]) for i in range(batch)]), expected)


@pytest.mark.skipif("amx" not in ISAS or sys.platform != "linux", reason="needs Linux and a CPU with AMX")
@pytest.mark.parametrize(("stem", "left"), [("float", True), ("fixed", False)])
def test_tiles_are_asked_for_where_they_are_used(stem: str, left: bool) -> None:
    """Once they are, the process may have no small stack for signals any more."""
    code = """if True:
        import ctypes, sys, xnornet
        xnornet.engine.list_isas()
        xnornet.load("imagenette-bireal", stem=sys.argv[1])
        class Stack(ctypes.Structure):
            _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))
        memory = ctypes.create_string_buffer(8192)
        stack = Stack(ctypes.addressof(memory), 0, 8192)
        print(ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0)
    """
    done = subprocess.run([sys.executable, "-c", code, stem], capture_output=True, text=True, check=True)
    assert done.stdout == f"{left}\n"


@pytest.mark.skipif("amx" not in ISAS or sys.platform != "linux", reason="needs Linux and a CPU with AMX")
@pytest.mark.parametrize(("stem", "activations"), [("fixed", "int8"), ("integer", "float")])
def test_where_the_system_refuses_tiles(stem: str, activations: str) -> None:
    """As it does where a stack for signals is too small for them: whole numbers by AVX-512, to the same bits."""
    code = f"""
import ctypes, sys, numpy as np
from tests.engine_cases import pixels
from xnornet.models import create
from xnornet.convert import lower
from xnornet.engine import Model
import torch
class Stack(ctypes.Structure):
    _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))
memory = ctypes.create_string_buffer(8192)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, 8192)), None) == 0
torch.manual_seed(0)
network = lower(create("resnet20", "bwn").eval(), torch.zeros(1, 3, 32, 32))
x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
found = [Model(network, isa=isa, stem="{stem}", activations="{activations}") for isa in ("amx", "avx512")]
kernels = [[step.kernel for step in model.profile(x, 1)] for model in found]
print(kernels[0] == kernels[1], "vnni" in kernels[0][0], np.array_equal(*(model.run(x) for model in found)))
"""
    done = in_process(code)
    assert (done.stdout, done.stderr) == ("True True True\n", "")


def test_large_batches_are_cut() -> None:
    model = Model(small_network())
    most = model._plan.images_at_once
    assert 1 < most < 1000
    x = pixels(2 * most + 1)
    expected = np.concatenate([model.run(x[i : i + most]) for i in range(0, len(x), most)])
    assert np.array_equal(model.run(x), expected)
    np.testing.assert_allclose(model.run(x[-1:])[0], expected[-1], rtol=1e-5, atol=1e-5)


def test_python_threads_share_a_model() -> None:
    network = small_network()
    model = Model(network, 2)
    inputs = [pixels(1 + i % 3, seed=i) for i in range(12)]
    expected = [Model(network).run(x) for x in inputs]
    failures: list[int] = []

    def work(i: int) -> None:
        for _ in range(20):
            if not np.array_equal(model.run(inputs[i]), expected[i]):
                failures.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def in_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with the build of the package that is under test."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import tests.conftest\n" + code],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork() -> None:
    """A child made after the pool was started gets its own; the parent's goes on."""
    code = """
import os, sys, numpy as np
from tests.engine_cases import small_network, pixels
from xnornet.engine import Model
model, x = Model(small_network(), 2), pixels(4)
expected = model.run(x)
for _ in range(3):
    child = os.fork()
    if child == 0:
        ok = all(np.array_equal(model.run(x), expected) for _ in range(5))
        if os.path.isdir("/proc/self/task"):
            ok = ok and len(os.listdir("/proc/self/task")) == 2  # itself and one helper
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if np.array_equal(model.run(x), expected) else 1)
        ok = ok and os.waitpid(grandchild, 0)[1] == 0
        del model
        os._exit(0 if ok else 1)
    assert np.array_equal(model.run(x), expected)
    assert os.waitpid(child, 0)[1] == 0
"""
    done = in_process(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_fork_into_a_namespace_of_process_ids() -> None:
    """As of containers, whose first processes are all of id 1: a child may have its parent's."""
    code = """
import ctypes, os, time, numpy as np
from tests.engine_cases import small_network, pixels
from xnornet.engine import Model
unshare = ctypes.CDLL(None).unshare
users, ids = 0x10000000, 0x20000000
if unshare(ids) and unshare(users | ids):
    print("not allowed")
    os._exit(0)
if child := os.fork():
    os._exit(os.waitpid(child, 0)[1])
model, x = Model(small_network(), 2), pixels(4)
expected = model.run(x)
time.sleep(0.1)  # the helper sleeps too
assert os.getpid() == 1 and unshare(ids) == 0
if child := os.fork():
    os._exit(os.waitpid(child, 0)[1] >> 8)
assert os.getpid() == 1
equal = np.array_equal(model.run(x), expected)
del model
print("the same" if equal else "another", flush=True)
os._exit(0)
"""
    done = in_process(code)
    if done.stdout == "not allowed\n":
        pytest.skip("needs the right to make namespaces")
    assert (done.returncode, done.stdout) == (0, "the same\n"), done.stderr


ENDING = """
import atexit, os, sys, threading, time
import numpy as np
from tests.engine_cases import pixels, small_network
from xnornet.engine import Model
model, x = Model(small_network(), 2), pixels(200)
begun = threading.Event()
def work(run):
    while True:
        begun.set()
        run()
def begin(run):
    thread = threading.Thread(target=work, args=(run,), daemon=True)
    thread.start()
    begun.wait()
    time.sleep(0.05)
"""


@pytest.mark.parametrize("run", ["model.run(x[:1])", "model.profile(x, 10**9)", "Model(small_network(), 2)"])
def test_the_program_may_end_while_a_daemon_thread_runs(run: str) -> None:
    """It waits for what is under way, and for no more."""
    for _ in range(3):
        done = in_process(f"{ENDING}\nbegin(lambda: {run})")
        assert (done.returncode, done.stderr) == (0, "")


def test_what_runs_at_the_end_of_the_program() -> None:
    """After the module's own function for that has been called, as those that were registered first."""
    code = """
import atexit
@atexit.register
def last():
    print(np.array_equal(model.run(x), expected))
    over.set()
    thread.join()
import threading
over = threading.Event()
""" + ENDING.replace("while True", "while not over.is_set()")
    done = in_process(
        f"{code}\nexpected = model.run(x)\nbegin(lambda: model.run(x))\nthread = threading.enumerate()[-1]"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_does_not_wait_for_what_its_parent_runs() -> None:
    code = """
begin(lambda: model.run(np.repeat(x, 20, 0)))
for _ in range(10):
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitpid(child, 0)[1] == 7 << 8
"""
    done = in_process(ENDING + code)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_printed_about_a_model_that_outlives_its_module() -> None:
    """As one that a thread still holds."""
    code = """
import ctypes
from tests.engine_cases import small_network
from xnornet.engine import Model
model = Model(small_network())
ctypes.pythonapi.Py_IncRef(ctypes.py_object(model))
"""
    done = in_process(code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.skipif("XNORNET_TEST_SITE" in os.environ, reason="sanitizers keep freed memory, emulators add theirs")
def test_memory_of_a_loaded_model(tmp_path: Path) -> None:
    """What stays is the repacked weights; on the way there is the file once more, and no third copy."""
    rng = np.random.default_rng(0)
    features = 12288
    weight = BitArray((features, features), rng.integers(0, 256, features * features // 8, dtype=np.uint8))
    layers = [
        ops.BinaryWeightLinear(name="real", inputs=("input",), weight=weight),
        ops.Sign(name="bits", inputs=("real",)),
        ops.BinaryLinear(name="binary", inputs=("bits",), weight=weight),
        ops.Affine(name="float", inputs=("binary",)),
        ops.Linear(name="head", inputs=("float",), weight=np.zeros((10, features), np.float32)),
    ]
    preprocess = Preprocess(mode="RGB", size=(64, 64), mean=(0.0,) * 3, std=(1.0,) * 3)
    flat = ops.Flatten(name="flat", inputs=("input",))
    first = replace(layers[0], inputs=("flat",))
    path = tmp_path / "model"
    size = format.write(PackedModel((flat, first, *layers[1:]), preprocess, tuple("abcdefghij")), path) / 2**20
    code = f"""
import numpy as np, xnornet, xnornet.format
def mib(what):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what)) / 1024
before = mib("VmRSS")
net = xnornet.load({str(path)!r})
net.run(np.zeros((1, 64, 64, 3), np.uint8))
print(mib("VmRSS") - before, mib("VmHWM") - before)
"""
    done = in_process(code)
    stays, peak = map(float, done.stdout.split())
    assert size > 35
    assert stays < 1.2 * size + 6, f"{stays} MiB stay of a file of {size}"
    assert peak < 2.3 * size + 6, f"{peak} MiB at most for a file of {size}"


@pytest.mark.parametrize("isa", ISAS)
def test_forced_isa(isa: str) -> None:
    code = (
        "from tests.engine_cases import small_network; from xnornet.engine import Model;"
        "m = Model(small_network(), stem='fixed'); print(m.isa, *(step.kernel for step in m.profile(repeat=1)))"
    )
    done = in_process(code, XNORNET_ISA=isa)
    assert done.stdout.split()[0] == isa, done.stderr
    first, second = done.stdout.split()[1:3]
    # Of this network the first layer alone has kernels for AMX and ARM's dot products, and none AVX-VNNI's own.
    assert isa.replace("avxvnni", "avx2") in (first if isa in ("amx", "neondot") else second)


def test_unknown_isa_is_one_clear_error() -> None:
    code = (
        "from tests.engine_cases import small_network; from xnornet.engine import Model\n"
        "try: Model(small_network())\nexcept Exception as e: print(type(e).__name__, e)"
    )
    done = in_process(code, XNORNET_ISA="sse9")
    assert done.stdout.startswith("UnsupportedError XNORNET_ISA=sse9 is not available here; choose one of: ")
    assert "portable" in done.stdout
    with pytest.raises(UnsupportedError, match="instruction set 'mmx' is not available"):
        Model(small_network(), isa="mmx")


def test_listing() -> None:
    isas = {isa.name: isa for isa in list_isas()}
    assert isas["portable"].available
    assert [isa.name for isa in list_isas() if isa.available] == available_isas()
    assert all(6 <= len(isa.kernels) <= 11 for isa in isas.values())
    assert Model(small_network()).isa == os.environ.get("XNORNET_ISA", available_isas()[0])


@pytest.mark.skipif(not processor_flags(), reason="the system does not list the processor's features")
def test_what_the_processor_lacks() -> None:
    """Said to be missing is only what the system does not list either: no set is passed over that could run."""
    isas, flags = list_isas(), processor_flags()
    missing = {feature for isa in isas for feature in isa.missing.split()}
    listed = {name: re.sub("(avx512|avx)(?=v)", r"\1_", name).replace("amx-", "amx_") for name in missing}
    assert not {name for name in missing if {name, listed[name]} & flags}


def test_no_torch() -> None:
    done = in_process("import sys, xnornet.engine; print('torch' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's limits")
@pytest.mark.skipif("XNORNET_TEST_SITE" in os.environ, reason="sanitizers and emulators take addresses")
def test_a_model_that_memory_cannot_hold_is_refused(tmp_path: Path) -> None:
    """The file takes kilobytes, its first value 200 GB."""
    layers = (
        ops.Conv2d(name="c", inputs=("input",), window=Window((1, 1)), weight=np.ones((200, 1, 1, 1), np.float32)),
        ops.Conv2d(name="d", inputs=("c",), window=Window((1, 1)), weight=np.ones((200, 1, 1, 200), np.float32)),
        ops.AvgPool2d(name="p", inputs=("d",), window=Window((16384, 16384))),
    )
    path = tmp_path / "large"
    format.write(PackedModel(layers, Preprocess("L", (16384, 16384)), tuple(map(str, range(200)))), path)
    code = f"""
import resource, xnornet
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
try: xnornet.load({str(path)!r})
except xnornet.FormatError as error: print(error)
"""
    done = in_process(code)
    assert done.stdout == f"{path}: cannot run here: it needs more memory than is free\n", done.stderr


@pytest.mark.skipif("XNORNET_TEST_SITE" in os.environ, reason="sanitizers and emulators take addresses")
def test_where_no_threads_can_be_started_a_run_works_alone() -> None:
    code = """
import resource
import numpy as np
from xnornet.engine import Model
from tests.networks import tiny_model
x = np.zeros((2, 12, 12, 1), np.uint8)
expected = Model(tiny_model()).run(x)
many = Model(tiny_model(), 1000)
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
assert np.array_equal(many.run(x), expected)
"""
    done = in_process(code)
    assert done.returncode == 0, done.stderr
