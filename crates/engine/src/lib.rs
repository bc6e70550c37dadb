//! Part of Stateward.
