"""Takes orders as JSON on stdin and prints the total of each customer; small orders are left out."""

import json
import sys
from collections import defaultdict

minimum = float(sys.argv[1])
totals: defaultdict[str, float] = defaultdict(float)
for order in json.load(sys.stdin):
    if order["amount"] >= minimum:
        totals[order["customer"]] += order["amount"]
print(json.dumps(totals))
