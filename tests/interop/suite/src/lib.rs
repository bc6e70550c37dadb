//! Tests only: `tests/interop`.
