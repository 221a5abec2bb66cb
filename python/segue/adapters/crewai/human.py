"""Questions to people: `human_input` of a task, `@human_feedback` and `ask()` of a flow.

Nobody sits at a worker's terminal, and no process is kept for somebody who may answer next week. So the attempt ends by
asking, and the next one, in another process, is given the answer. How it comes back to where it was:

* a flow that paused at a `@human_feedback` of its own goes on behind that method, from its state in the token;
* everything else runs again from the start. What models said before comes out of the gateway's journal and is not paid
  again; when the same question comes, its answer is given, and **what the person saw takes the place of what is there
  now**, so that nobody ever approves what they have not read.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import threading
from typing import Any, Final, NoReturn

from segue.adapters.crewai import outputs
from segue.adapters.crewai.events import Forwarder
from segue.adapters.crewai.framework import lookup
from segue.worker.adapter import ANSWER, Context, Failure, Item, Question

MODES: Final = ("suspend", "fail")
_TEXT: Final = {"type": "string"}
_NAME_CHARS_MAX: Final = 100
_ACCEPTING: Final = ("", "yes", "ok", "accept", "approve", "approved")
"""CrewAI takes an empty line for consent. Whoever writes only this means the same, and no new round of the agent."""


class People:
    """Whom this attempt asks, what they have answered before, and what it takes to go on."""

    def __init__(self, context: Context, forwarder: Forwarder, mode: str) -> None:
        self._context = context
        self._forwarder = forwarder
        self._may_ask = mode == "suspend"
        self._lock = threading.Lock()
        self._counts: collections.Counter[str] = collections.Counter()
        self._answered: dict[str, dict[str, Any]] = {}
        self._unused: set[str] = set()
        self._flow: Any = None
        self.asking: threading.Thread | None = None
        """The thread that is ending the attempt by a question: no model is to be asked any more."""
        self.refused: Failure | None = None
        """Why a question was not put: some callers swallow exceptions."""
        self.checkpoint: dict[str, Any] | None = None
        """Where the flow paused: `state`, `pending` and, once it is there, the `answer`."""
        self._take_up()

    def _take_up(self) -> None:
        resume = self._context.start.resume
        if resume is None:
            return
        try:
            self._read(resume.token, outputs.text(resume.answers[ANSWER]))
        except (LookupError, TypeError, AttributeError) as error:
            said = "start.resume: this is no token of a crew, or the answer is missing"
            raise Failure("invalid_input", said) from error

    def _read(self, token: dict[str, Any], answer: str) -> None:
        self._answered = {each["question"]: each for each in token["answered"]}
        self.checkpoint = token.get("flow")
        asked = token.get("asked")
        if asked is not None:
            self._answered[asked["question"]] = {**asked, "answer": answer}
        elif self.checkpoint is not None:
            self.checkpoint = {**self.checkpoint, "answer": answer}
        self._unused = set(self._answered)

    def attach(self) -> None:
        """From now on questions of crews and flows come here. A provider that the user's code has set is left alone."""
        self._attach_to_crews()
        self._attach_to_flows()

    def watch(self, flow: Any) -> None:
        """This flow is the one that is run: it can pause and go on. Flows inside it run again."""
        self._flow = flow

    # Tasks with `human_input`.

    def _attach_to_crews(self) -> None:
        console = lookup("crewai.core.providers.human_input", "SyncHumanInputProvider")
        if console is None:
            self._context.log("warning", "this crewai has no providers of human input; a task that asks will fail")
            return
        people, in_training, in_training_async = self, console.handle_feedback, console.handle_feedback_async

        @functools.wraps(console.handle_feedback)
        def handle(provider: Any, answer: Any, executor: Any) -> Any:
            if executor._is_training_mode():
                return in_training(provider, answer, executor)
            while executor.ask_for_human_input:
                said = people.review(answer, executor)
                if _accepts(said):
                    executor.ask_for_human_input = False
                    break
                executor.messages.append(executor._format_feedback_message(said))
                answer = executor._invoke_loop()
            return answer

        @functools.wraps(console.handle_feedback_async)
        async def handle_async(provider: Any, answer: Any, executor: Any) -> Any:
            if executor._is_training_mode():
                return await in_training_async(provider, answer, executor)
            while executor.ask_for_human_input:
                # In a thread: other tasks of this loop may have calls to finish first.
                said = await asyncio.to_thread(people.review, answer, executor)
                if _accepts(said):
                    executor.ask_for_human_input = False
                    break
                executor.messages.append(executor._format_feedback_message(said))
                answer = await executor._ainvoke_loop()
            return answer

        console.handle_feedback = handle
        console.handle_feedback_async = handle_async

    def review(self, answer: Any, executor: Any) -> str:
        """What the person says to an agent's answer. `answer` becomes what they have seen."""
        task = executor.task
        name = _short(getattr(task, "name", None) or getattr(task, "description", None) or "task")
        role = _short(getattr(executor.agent, "role", None) or "the agent")
        question = self._number(f"task {name}")
        shown = outputs.of_answer(answer)
        given = self._answer_to(question)
        if given is None:
            prompt = (
                f"{role} has a result for {name}. Leave the answer empty to accept it, or say what is to be better."
            )
            self._ask(prompt, shown, question)
        if given["seen"] != shown:
            self._context.warn(
                f"{name} came out differently when it ran again; it goes on with the result that the person saw"
            )
            _replace(answer, given["seen"], executor)
        return str(given["answer"])

    # Flows.

    def _attach_to_flows(self) -> None:
        people = self
        config = lookup("crewai.flow.flow_config", "flow_config")
        console = lookup("crewai.flow.async_feedback.providers", "ConsoleProvider")
        if config is None or console is None:
            return

        def request_feedback(_provider: Any, context: Any, flow: Any) -> str:
            return people.feedback(context, flow)

        def request_input(_provider: Any, message: str, flow: Any, metadata: Any = None) -> str:
            del metadata
            return people.input(message, flow)

        console.request_feedback = request_feedback
        console.request_input = request_input
        config.hitl_provider = config.hitl_provider or console()
        config.input_provider = config.input_provider or console()
        _choose_without_a_model()

    def feedback(self, context: Any, flow: Any) -> str:
        """`@human_feedback`: pauses the flow that is run; one inside it is treated like any other question."""
        if flow is self._flow:
            self.pause(flow, context)
        question = self._number(f"method {type(flow).__name__}.{context.method_name}")
        given = self._answer_to(question)
        if given is None:
            self._ask(_prompt(context), outputs.plain(context.method_output), question, _schema(context.emit))
        return str(given["answer"])

    def input(self, message: str, flow: Any) -> str:
        """`ask()`."""
        question = self._number(f"ask {type(flow).__name__}: {_short(message)}")
        given = self._answer_to(question)
        if given is None:
            self._ask(_short(message, 2000), message, question)
        return str(given["answer"])

    def pause(self, flow: Any, context: Any) -> NoReturn:
        """The flow has paused: its state and the question go into the token. Ends the attempt."""
        if not self._may_ask:
            raise self._refuse(f"the flow asks at {context.method_name}")
        self._begin_to_ask()
        try:
            state = outputs.state_of(flow)
        except Failure:
            self.asking = None
            raise
        self.checkpoint = {
            "state": state,
            # The model that reads the answer is the one of the flow's own code; what is here may be no more by then.
            "pending": {**context.to_dict(), "llm": None, "trace_context": None},
        }
        self._answered.clear()
        item = Item(ANSWER, outputs.plain(context.method_output), _schema(context.emit))
        self._context.ask(Question(_prompt(context), [item], self._token(None)))

    # What all have in common.

    def _number(self, question: str) -> str:
        """The same question may come again, in another round or in a loop: each has a number."""
        with self._lock:
            self._counts[question] += 1
            return f"{question} #{self._counts[question]}"

    def _answer_to(self, question: str) -> dict[str, Any] | None:
        self._unused.discard(question)
        return self._answered.get(question)

    def report_unused(self) -> None:
        """What a person has said and nobody asked for again is not passed over in silence."""
        for question in sorted(self._unused):
            self._context.warn(f"the answer to {question} was not used: the question did not come again")

    def _ask(self, prompt: str, seen: Any, question: str, schema: dict[str, Any] | None = None) -> NoReturn:
        if not self._may_ask:
            raise self._refuse(f"it asks a person ({_short(prompt)})")
        self._begin_to_ask()
        token = self._token({"question": question, "seen": seen})
        self._context.ask(Question(prompt, [Item(ANSWER, seen, schema or _TEXT)], token))

    def _begin_to_ask(self) -> None:
        """One question at a time; the others come in the next attempt. What is paid for is waited for."""
        with self._lock:
            if self.asking is None:
                self.asking = threading.current_thread()
        if self.asking is not threading.current_thread():
            wait_for_the_end()
        self._forwarder.wait_for_quiet()

    def _token(self, asked: dict[str, Any] | None) -> dict[str, Any]:
        token: dict[str, Any] = {"answered": list(self._answered.values())}
        if self.checkpoint is not None:
            token["flow"] = self.checkpoint
        if asked is not None:
            token["asked"] = asked
        return token

    def _refuse(self, what: str) -> Failure:
        self.refused = Failure("invalid_input", f"{what}, and hints.crewai.human is fail")
        return self.refused


def wait_for_the_end() -> NoReturn:
    """Another thread is ending the process."""
    while True:
        threading.Event().wait()


def _accepts(said: str) -> bool:
    return said.strip().rstrip(".!").lower() in _ACCEPTING


def _replace(answer: Any, seen: Any, executor: Any) -> None:
    """Makes the agent's answer what the person saw, also in what the agent remembers of it."""
    before = answer.text
    if isinstance(answer.output, str):
        answer.output = answer.text = seen if isinstance(seen, str) else outputs.text(seen)
    else:
        answer.output = type(answer.output).model_validate(seen)
        answer.text = outputs.text(seen)
    for message in reversed(executor.messages):
        if message.get("role") == "assistant":
            if message.get("content") == before:
                message["content"] = answer.text
            return


def _prompt(context: Any) -> str:
    choice = f" (one of: {', '.join(context.emit)}; or in words)" if context.emit else ""
    return f"{context.message}{choice}"


def _schema(emit: list[str] | None) -> dict[str, Any]:
    return {**_TEXT, "examples": list(emit)} if emit else _TEXT


def _choose_without_a_model() -> None:
    """An answer that is one of the outcomes needs no model to tell which."""
    flow_class = lookup("crewai.flow.flow", "Flow")
    original = getattr(flow_class, "_collapse_to_outcome", None)
    if not callable(original):
        return

    @functools.wraps(original)
    def collapse(self: Any, feedback: str, outcomes: Any, llm: Any) -> Any:
        for outcome in outcomes:
            if outcome.lower() == feedback.strip().lower():
                return outcome
        return original(self, feedback=feedback, outcomes=outcomes, llm=llm)

    flow_class._collapse_to_outcome = collapse


def _short(text: Any, chars_max: int = _NAME_CHARS_MAX) -> str:
    return " ".join(str(text).split())[:chars_max]
