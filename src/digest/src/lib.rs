//! The visual digest: what a guest shows of everything that happened to it, as a QR symbol on its screen.
#![cfg_attr(not(feature = "host"), no_std)]
