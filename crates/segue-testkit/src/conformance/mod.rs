//! One published suite a port: whoever passes it is an implementation.

pub mod adapter;
