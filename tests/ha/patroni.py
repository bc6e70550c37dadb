"""The Patroni that is run: the installed one, or a newer one from PyPI where the installed one cannot pass a fault."""

import os
import re
import shutil
import subprocess
import sys

# Before it, a primary that is suspended with its Patroni takes the leader's key from the node that was promoted
# meanwhile, and what that one acknowledged is lost: https://github.com/patroni/patroni/pull/2689
KEEPS_THE_LOCK = (3, 0, 3)
FROM_PYPI = "4.1.5"


class Patroni:
    """How it is started; `keeps_the_lock`: whether a suspended primary may be woken."""

    def __init__(self, version, command, environment):
        self.version, self.command, self.environment = version, command, environment
        self.keeps_the_lock = numbers(version) >= KEEPS_THE_LOCK

    def __str__(self):
        return f"Patroni {self.version}"


def numbers(version):
    return tuple(int(number) for number in re.findall(r"\d+", version))


def choose(run, target, may_install):
    """The installed one if it is new enough, or nothing may be installed, or that fails; else one in `target`."""
    said = subprocess.run(["patroni", "--version"], check=True, capture_output=True, text=True).stdout
    installed = Patroni(said.split()[-1], ["patroni"], {})
    if installed.keeps_the_lock or not may_install:
        return installed
    kept = target / f"patroni-{FROM_PYPI}"
    if not kept.exists():
        # What it depends on comes with the installed one.
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", kept, f"patroni=={FROM_PYPI}"]
        if subprocess.run(install, stderr=subprocess.DEVNULL).returncode != 0:
            shutil.rmtree(kept, ignore_errors=True)
            return installed
    # The database's user may not reach the checkout.
    own = shutil.copytree(kept, run.folder / "patroni")
    os.chmod(own, 0o755)
    return Patroni(FROM_PYPI, ["/usr/bin/python3", "-m", "patroni"], {"PYTHONPATH": str(own)})
