//! Ports of the operating system, real ones: pseudo-terminals and sockets.
#![cfg(unix)]

mod calls;
mod idle;
mod outages;
mod ports;
mod rig;
mod udp_server;
