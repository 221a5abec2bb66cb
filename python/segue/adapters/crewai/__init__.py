"""CrewAI: agents, crews and flows, from 1.15.5 on.

What of CrewAI is private and may be gone in the next version is looked for, never assumed (`framework.features`), and
each such thing has one file:

* `framework`: environment, import, preload, features;
* `targets`: finds and builds the crew that an input names; `agents`: the single agent of `crewai.agent`; `flows`: the
  same for flows, and how they run;
* `models`: the model of a hint, and unknown names at a given address; `calls`: time limit and streaming of their calls;
  `rehearsal`: the stand-in for every model;
* `retries`: one request for one failing call; `events`: what is forwarded, and usage;
* `human`: questions to people, and how an attempt goes on with an answer;
* `errors`: what an exception means; `shortcomings`: successes that are none; `outputs`: results as JSON;
* `runner`: one attempt, from its inputs to its output.
"""

from __future__ import annotations

from segue.worker.adapter import Adapter


def adapter() -> Adapter:
    """CrewAI's adapter. Imports CrewAI only when it is loaded."""
    from segue.adapters.crewai.runner import CrewAi

    return CrewAi()
