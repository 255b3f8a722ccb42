//! Our TCP beside smoltcp: two stacks in memory, one thread, an application that writes and one
//! that reads, MTU 1500 with checksums, 1 MiB buffers.
//!
//! `cargo run --release -- [ours|smoltcp] [MIB]`; without a name, each three times in turn.

mod ours;
mod smol;

use std::time::Instant;

const MTU_BYTES: usize = 1_500;
const BUFFER_BYTES: usize = 1 << 20;

/// What the application writes at once, and reads at most.
const CHUNK_BYTES: usize = 64 << 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let stack = arguments.next();
    let mib = arguments
        .next()
        .map_or(4_096, |mib| mib.parse().expect("MiB"));
    let bytes = mib << 20;
    match stack.as_deref() {
        Some("ours") => report("ours", bytes, ours::transfer),
        Some("smoltcp") => report("smoltcp", bytes, smol::transfer),
        _ => {
            for _ in 0..3 {
                report("ours", bytes, ours::transfer);
                report("smoltcp", bytes, smol::transfer);
            }
        }
    }
    if stack.is_none() || stack.as_deref() == Some("handshakes") {
        let count = 200_000;
        let start = Instant::now();
        ours::handshakes(count);
        let rate = f64::from(count) / start.elapsed().as_secs_f64();
        println!("ours     {rate:>9.0} connections a second, opened and closed, both ends");
    }
}

fn report(name: &str, bytes: usize, transfer: impl Fn(usize)) {
    let start = Instant::now();
    transfer(bytes);
    let seconds = start.elapsed().as_secs_f64();
    let gbits = bytes as f64 * 8.0 / seconds / 1e9;
    println!("{name:<8} {gbits:>6.2} Gbit/s ({seconds:.2} s)");
}
