"""A graph of two steps, each with one model call. Nothing in it knows of Segue."""

from langchain.chat_models import init_chat_model
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    """What the steps hand on."""

    topic: str
    outline: str
    text: str


model = init_chat_model("openai:gpt-4o-mini", max_retries=0)


async def outline(state: State) -> State:
    """The first step."""
    answer = await model.ainvoke(f"Outline a short essay about {state['topic']} in three points.")
    return {"outline": answer.text}


async def write(state: State) -> State:
    """The second."""
    answer = await model.ainvoke(f"Write the essay after this outline:\n{state['outline']}")
    return {"text": answer.text}


graph = (
    StateGraph(State)
    .add_node("outline", outline)
    .add_node("write", write)
    .add_edge(START, "outline")
    .add_edge("outline", "write")
    .add_edge("write", END)
    .compile()
)
