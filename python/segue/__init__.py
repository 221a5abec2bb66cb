"""The Python side of Segue: the worker (`segue.worker`) and what it drives (`segue.adapters`)."""
