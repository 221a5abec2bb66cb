"""A graph that asks before it sends. It has no checkpointer: Segue gives it one, so that the question may wait for days
and the answer may reach another process."""

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    """What is to be sent, and whether it was."""

    draft: str
    decision: str
    sent: bool


def ask(state: State) -> State:
    """Asks a person. What stands before `interrupt` in a node runs again when it is answered."""
    decision = interrupt(
        {"question": "Send this answer?", "draft": state["draft"]},
        response_schema={"enum": ["yes", "no"]},
    )
    return {"decision": decision}


def send(state: State) -> State:
    """Would send it."""
    return {"sent": state["decision"] == "yes"}


builder = StateGraph(State)
builder.add_node("ask", ask)
builder.add_node("send", send)
builder.add_edge(START, "ask")
builder.add_edge("ask", "send")
graph = builder.compile()
