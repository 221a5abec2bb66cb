//! Processes that Segue starts: containment, process.run, the pool of Python workers and their environments.
