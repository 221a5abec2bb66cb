"""Takes a text, and the words that it must mention, as JSON on stdin; prints how many it does and which are missing."""

import json
import sys

task = json.load(sys.stdin)
text = task["text"].lower()
missing = [word for word in task["mention"] if word.lower() not in text]
print(json.dumps({"score": len(task["mention"]) - len(missing), "missing": missing}))
