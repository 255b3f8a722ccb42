//! The Packhorse client: plans a download, drives sessions, verifies and reports.
