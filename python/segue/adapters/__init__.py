"""One package a framework, by its name: `segue.adapters.NAME.adapter()` gives its `segue.worker.adapter.Adapter`."""
