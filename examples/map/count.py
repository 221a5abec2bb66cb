"""Counts the words of one letter and prints them as JSON; a file that is no text is an error."""

import json
import sys
from pathlib import Path

path = Path(sys.argv[1])
try:
    text = path.read_text(encoding="utf-8")
except UnicodeDecodeError:
    sys.exit(f"{path} is not a text")
print(json.dumps({"file": path.name, "words": len(text.split())}))
