"""An agent that answers customers. The model's name is all that it says about models: where they are asked, and with
which key, is Segue's business."""

import orders
from langchain.agents import create_agent
from langchain_core.tools import tool


@tool
def look_up(order: str) -> str:
    """Tells where an order is."""
    return orders.state_of(order)


agent = create_agent(
    "openai:gpt-4o-mini",
    tools=[look_up],
    system_prompt="You answer customers of a shop, in two sentences at the most.",
)
