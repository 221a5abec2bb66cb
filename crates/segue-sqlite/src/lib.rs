//! RunStore on SQLite: one writer thread, group commit, leases, request inbox.
