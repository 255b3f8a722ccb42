//! The Packhorse server: limits, access and the driver of the server session.
