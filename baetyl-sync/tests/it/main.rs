//! What the cloud side does against servers on loopback and fakes with state.

