import importlib.util
import os
import sys


def variables():
    return dict(os.environ)


def imports(*, modules):
    """Which of these modules could be imported here."""
    return {name: importlib.util.find_spec(name) is not None for name in modules}


def path():
    return {"path": sys.path, "executable": sys.executable, "cwd": os.getcwd()}
