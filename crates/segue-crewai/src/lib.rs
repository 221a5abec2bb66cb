//! CrewAI as an adapter: translation, hints, validation.
