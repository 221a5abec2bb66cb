"""The worker's program with a framework of one line: it runs the Python code in `inputs.code`.

python toy.py [--broken] --socket PATH
"""

from __future__ import annotations

import sys
import threading
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from segue.worker import main
from segue.worker.adapter import Context, Failure, Loaded

MODES = {"--broken", "--threaded"}
mode = MODES.intersection(sys.argv)
sys.argv[:] = [*(argument for argument in sys.argv if argument not in MODES), "--adapter", "toy"]


class Toy:
    """Implements `segue.worker.adapter.Adapter`."""

    name = "toy"

    def load(self) -> Loaded:
        """Nothing to load, unless it is to go wrong."""
        if "--broken" in mode:
            raise ModuleNotFoundError("No module named 'toy'")
        if "--threaded" in mode:
            threading.Thread(target=threading.Event().wait, name="stray", daemon=True).start()
        return Loaded({"toy": "1.0"}, ["play"], "off")

    def run(self, context: Context) -> Any:
        """`output`, as the code left it."""
        names: dict[str, Any] = {"context": context, "output": None}
        exec(context.start.inputs["code"], names)
        return names["output"]

    def classify(self, error: BaseException) -> Failure:
        """Everything is the user's, or too much for it."""
        if isinstance(error, ZeroDivisionError):
            raise LookupError
        return Failure("user", f"{type(error).__name__}: {error}")


module = types.ModuleType("segue.adapters.toy")
vars(module)["adapter"] = Toy
sys.modules[module.__name__] = module
sys.exit(main.main())
