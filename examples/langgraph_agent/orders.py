"""What was ordered: a plain function for `python.call`, and the data of the agent's tool."""

ORDERS = {"Ada": {"o-1": "delivered", "o-2": "on its way"}, "Linus": {"o-3": "lost"}}


def of_customer(name: str) -> dict[str, str]:
    """A customer's orders and where they are."""
    return ORDERS.get(name, {})


def state_of(order: str) -> str:
    """Where an order is."""
    known = {number: state for orders in ORDERS.values() for number, state in orders.items()}
    return known.get(order, "unknown")
