"""A graph with two steps and a chain, as they stand in any LangChain project."""

import operator
from typing import Annotated

from langchain.chat_models import init_chat_model
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

model = init_chat_model("openai:gpt-4o-mini", temperature=0)
title = ChatPromptTemplate.from_template("A title of five words about {topic}") | model | StrOutputParser()


class State(TypedDict, total=False):
    """What is written about, and what has come of it so far."""

    topic: str
    facts: str
    drafts: Annotated[list[str], operator.add]
    text: str


async def write(state: State) -> State:
    """A first text."""
    answer = await model.ainvoke(f"Write about {state['topic']} from these facts:\n{state['facts']}")
    return {"drafts": [answer.text]}


async def shorten(state: State) -> State:
    """A shorter one. If the worker is killed here, the next attempt begins here."""
    answer = await model.ainvoke(f"Shorten to three sentences:\n{state['drafts'][-1]}")
    return {"drafts": [answer.text], "text": answer.text}


builder = StateGraph(State)
builder.add_node("write", write)
builder.add_node("shorten", shorten)
builder.add_edge(START, "write")
builder.add_edge("write", "shorten")
graph = builder.compile()
