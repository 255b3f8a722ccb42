//! The TCP crate in worlds and scripts.

mod codec;
mod fuzz;
mod goodput;
mod scripts;
mod traces;
mod worlds;
