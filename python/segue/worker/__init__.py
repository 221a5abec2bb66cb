"""The worker: a zygote that imports a framework once, and one forked child for every attempt.

`docs/reference/worker-protocol.md` says what it speaks. From the outside in:

* `main`: arguments, token, framework, then the loop of
* `zygote`: forks, reaps and kills attempts;
* `child`: what a forked process does before it is an attempt;
* `attempt`: one attempt's conversation with the engine, whatever the user's code does meanwhile;
* `adapter`: what a framework's adapter must offer;
* `protocol`, `scrub`, `processes`: lines, secrets, process trees.
"""
