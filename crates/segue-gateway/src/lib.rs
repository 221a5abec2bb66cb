//! A loopback model gateway that speaks the OpenAI-compatible API; its first part is the rehearsal model.
