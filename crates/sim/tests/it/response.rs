//! What a controller makes of losses, beside what its RFC expects.

use std::time::Duration;

use packhorse_sim::Instant;
use packhorse_sim::goodput::Path;
use packhorse_sim::link::{LinkConfig, Loss};
use packhorse_sim::world::Side;
use packhorse_tcp::congestion::Congestion;

/// How far from the model the mean over all seeds may be, as a part of it.
const OFF_MAX: f64 = 0.15;

/// What is left out at the beginning, in round trips: slow start ends in losses of its own.
const SETTLES: u32 = 200;

/// The data of a packet of 1,500 bytes beside its headers and timestamps.
const SEGMENT: f64 = 1_448.0;

/// The mean window with `loss` of all packets lost, in segments: RFC 9438 §5.1 with C = 0.4 and
/// β = 0.7, and Reno's where that is larger (§4.3).
fn model(round_trip: f64, loss: f64) -> f64 {
    let cubic = 1.054 * (round_trip / loss).powf(0.75);
    let reno = (1.5 / loss).sqrt();
    cubic.max(reno)
}

/// The mean window of a stream that neither the line nor the receiver holds up.
fn window(round_trip: Duration, loss: u32, span: Duration, seed: u64) -> f64 {
    let link = LinkConfig {
        delay: round_trip / 2,
        loss: Loss::Independent(loss),
        ..LinkConfig::default()
    };
    let mut path = Path::new(Congestion::Cubic, link, u64::MAX, seed);
    let begin = Instant::default() + SETTLES * round_trip;
    let before = path.read_until(begin).expect("the world goes on");
    let read = path.read_until(begin + span).expect("the world goes on") - before;
    let stats = path.stats(Side::Left);
    assert!(stats.send_window > 2 * stats.cwnd, "{stats:?}");
    read as f64 / SEGMENT / span.div_duration_f64(round_trip)
}

/// In each of its two regions, and not where both say nearly the same: there it does better than
/// either, since it is Reno after one loss and itself after another. Windows are large enough that
/// the round trip of a recovery, which the model leaves out, is a small part of the time.
#[test]
fn cubic_takes_what_rfc_9438_expects() {
    for (millis, loss, seconds) in [
        // CUBIC's own.
        (300, 1_000, 600),
        (200, 500, 400),
        // Reno's.
        (30, 1_000, 120),
        (10, 2_000, 60),
    ] {
        let round_trip = Duration::from_millis(millis);
        let span = Duration::from_secs(seconds);
        let seeds = 0..2;
        let windows: Vec<_> = seeds
            .map(|seed| window(round_trip, loss, span, seed))
            .collect();
        let mean = windows.iter().sum::<f64>() / windows.len() as f64;
        let expected = model(round_trip.as_secs_f64(), f64::from(loss) / 1e6);
        let off = mean / expected - 1.0;
        println!(
            "{millis} ms, {loss} in a million: {mean:.1} of {expected:.1} segments, {off:+.3}; {windows:.1?}"
        );
        assert!(off.abs() <= OFF_MAX, "{millis} ms, {loss}: {off:+.3}");
    }
}
