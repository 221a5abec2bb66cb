"""CrewAI: agents and crews, from 1.15.5 on.

What of CrewAI is private and may be gone in the next version is looked for, never assumed (`framework.features`), and
each such thing has one file:

* `framework`: environment, import, preload, features;
* `targets`: finds and builds the crew that an input names; `agents`: the single agent of `crewai.agent`;
* `models`: the model of a hint, and unknown names at a given address; `rehearsal`: the stand-in for every model;
* `retries`: one request for one failing call; `events`: what is forwarded, and usage;
* `errors`: what an exception means;
* `runner`: one attempt, from its inputs to its output.
"""

from __future__ import annotations

from segue.worker.adapter import Adapter


def adapter() -> Adapter:
    """CrewAI's adapter. Imports CrewAI only when it is loaded."""
    from segue.adapters.crewai.runner import CrewAi

    return CrewAi()
