"""The worker processes of the matrix: each has one bench, of the setting that it was last asked for."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

_bench = None


class Workers:
    """A context manager: `count` processes that run cases."""

    def __init__(self, count):
        self.pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start)

    def __enter__(self):
        self.pool.__enter__()
        return self

    def __exit__(self, *error):
        self.pool.__exit__(*error)

    def outcomes(self, setting, choose):
        """The outcome of every case that choose(sizes of the connections of a boot without faults) names."""
        clean = self.pool.submit(_run, setting, None).result()
        assert clean.ended == "right", clean
        cases = choose(clean.sizes)
        return list(self.pool.map(_run, [setting] * len(cases), cases, chunksize=1 + len(cases) // 40))


def _start():
    import micro

    micro.install()
    sys.modules["requests"] = None  # type: ignore[assignment]  # the firmware's is urequests


def _run(setting, case):
    global _bench
    if _bench is None or _bench.setting != setting:
        if _bench:
            _bench.close()
            _bench = None
        from . import bench, vm

        _bench = (vm if setting.vm else bench).Bench(setting)
    return _bench.run(case)
