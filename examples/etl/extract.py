"""Reads the orders from the file beside this script and prints them as JSON."""

import csv
import json
from pathlib import Path

with (Path(__file__).parent / "orders.csv").open(newline="", encoding="utf-8") as file:
    orders = [
        {"id": row["id"], "customer": row["customer"], "amount": float(row["amount"])} for row in csv.DictReader(file)
    ]
print(json.dumps(orders))
