"""The worker's program, with a CrewAI that lacks what newer ones have: no stream sink, no overlay of models.

python older.py --socket PATH
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from segue.adapters.crewai import framework
from segue.worker import main

LACKING = {("crewai.events.stream_context", "add_stream_sink"), ("crewai.llm_overlay", "llm_overlay")}
find = framework.lookup


def lookup(module: str, attribute: str | None = None) -> Any:
    """As the real one, without what is lacking."""
    return None if (module, attribute) in LACKING else find(module, attribute)


# The adapter's other modules are imported later and take this one.
framework.lookup = lookup
sys.exit(main.main())
