//! The cloud over real sockets on loopback: the original's recorded exchanges, and what is ours.

mod client;
mod nodes;
mod replay;
