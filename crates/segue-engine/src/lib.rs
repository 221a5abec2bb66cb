//! The asynchronous shell around the kernel: drives runs, dispatches attempts, keeps leases and timers.
