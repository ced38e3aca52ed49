//! Integration tests of the model: the wire, the shadow and the local API.

mod shadow;
