"""The worker: imports a framework once, and has either a forked child for every attempt, or one loop for all of them.

`docs/reference/worker-protocol.md` says what it speaks. From the outside in:

* `main`: arguments, token, framework; then, in mode process, the loop of
* `zygote`: forks, reaps and kills attempts; `child`: what a forked process does before it is an attempt; `attempt`:
  one attempt in a process of its own; `alone`: an adapter that is made for a shared loop, in such a process;
* or, in mode shared, `host`: one asyncio loop for life, watched by a thread; `guest`: one attempt of it; `jobs`: what
  it has started; `prints`: what it prints; `current`: whose code is running;
* `conversation`: what an attempt tells the engine, in either mode; `calls`: what it asks the engine; `chunks`: what
  models say;
* `adapter`: what a framework's adapter must offer;
* `project`, `outputs`: the user's code, found and loaded; what it gives, as JSON;
* `protocol`, `scrub`, `faults`, `processes`: lines, secrets, exceptions, process trees.
"""
