//! HTTP as its clients meet it: requests and answers on a stream.

#![allow(clippy::unwrap_used, reason = "what tests share fails as a test does")]

mod archives;
mod changes;
mod conditions;
mod flood;
mod hostile;
mod pages;
mod patience;
mod ranges;
mod resting;
mod served;
