//! Byte streams for Packhorse: the kernel's TCP and TLS.
