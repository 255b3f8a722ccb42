//! Our TCP beside smoltcp: two stacks in memory, one thread, an application that writes and one
//! that reads, MTU 1500 with checksums, 1 MiB buffers; and connections that open and close.
//!
//! `cargo run --release -- [copied|in-place|handshakes] [ours|smoltcp] [MIB|COUNT]`; without a
//! stack, each five times in turn, and what they differ by; without a kind, all of them.

mod application;
mod ours;
mod smol;
mod tun;

use std::time::Instant;

use application::Data;

const MTU_BYTES: usize = 1_500;
const BUFFER_BYTES: usize = 1 << 20;

/// What the application writes at once, and reads at most where it has a buffer for it.
const CHUNK_BYTES: usize = 64 << 10;

const TURNS: usize = 5;

#[derive(Clone, Copy)]
enum Kind {
    Transfer(Data),
    Handshakes,
    Tun,
}

#[derive(Clone, Copy)]
enum Stack {
    Ours,
    Smoltcp,
}

fn main() {
    let mut kinds = vec![
        Kind::Transfer(Data::Copied),
        Kind::Transfer(Data::InPlace),
        Kind::Handshakes,
    ];
    let mut stacks = vec![Stack::Ours, Stack::Smoltcp];
    let mut count = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "copied" => kinds = vec![Kind::Transfer(Data::Copied)],
            "in-place" => kinds = vec![Kind::Transfer(Data::InPlace)],
            "handshakes" => kinds = vec![Kind::Handshakes],
            "tun" => kinds = vec![Kind::Tun],
            "ours" => stacks = vec![Stack::Ours],
            "smoltcp" => stacks = vec![Stack::Smoltcp],
            number => count = Some(number.parse().expect("a number, or see main.rs")),
        }
    }
    for kind in kinds {
        match stacks[..] {
            _ if matches!(kind, Kind::Tun) => measure_over_tun(count),
            [stack] => drop(measure(kind, stack, count)),
            _ => compare(kind, count),
        }
    }
}

/// Both in turn, so that what else the machine does falls on both.
fn compare(kind: Kind, count: Option<usize>) {
    let mut rates = [vec![], vec![]];
    for _ in 0..TURNS {
        for (stack, rates) in [Stack::Ours, Stack::Smoltcp].into_iter().zip(&mut rates) {
            rates.push(measure(kind, stack, count));
        }
    }
    let [ours, smoltcp] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[TURNS / 2]
    });
    println!("median: {:.2} times smoltcp", ours / smoltcp);
}

/// smoltcp only: `tun_throughput` of packhorse-transport is the same for ours.
fn measure_over_tun(mib: Option<usize>) {
    for _ in 0..3 {
        for (sends, way) in [(true, "to the kernel"), (false, "from the kernel")] {
            let gbits = tun::transfer(mib.unwrap_or(2_048) << 20, sends);
            println!("smoltcp  {gbits:>6.2} Gbit/s over TUN, {way}");
        }
    }
}

fn measure(kind: Kind, stack: Stack, count: Option<usize>) -> f64 {
    let name = match stack {
        Stack::Ours => "ours",
        Stack::Smoltcp => "smoltcp",
    };
    let start = Instant::now();
    match kind {
        Kind::Transfer(data) => {
            let bytes = count.unwrap_or(2_048) << 20;
            match stack {
                Stack::Ours => ours::transfer(bytes, data),
                Stack::Smoltcp => smol::transfer(bytes, data),
            }
            let gbits = bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9;
            println!("{name:<8} {gbits:>6.2} Gbit/s, {data}");
            gbits
        }
        Kind::Tun => unreachable!("it has its own way"),
        Kind::Handshakes => {
            let count = count.unwrap_or(200_000);
            match stack {
                Stack::Ours => ours::handshakes(count),
                Stack::Smoltcp => smol::handshakes(count),
            }
            let rate = count as f64 / start.elapsed().as_secs_f64();
            println!("{name:<8} {rate:>9.0} connections a second, both ends");
            rate
        }
    }
}
