//! Two hundred crowds at a server.

use packhorse_sim::crowd::Crowd;
use packhorse_sim::link::LinkCounters;

#[test]
fn everybody_in_a_crowd_is_served_whoever_floods() {
    let mut links = LinkCounters::default();
    let (mut cookies, mut held_up) = (0, 0);
    for seed in 0..200 {
        let crowd = Crowd::draw(seed);
        let outcome = crowd
            .run()
            .unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}\n{crowd:?}"));
        links.add(&outcome.links);
        cookies += outcome.server.cookies_accepted;
        held_up += outcome.server.accept_queue_full;
        let most = crowd.clients + crowd.server.half_open_max;
        assert!(outcome.connections_most <= most, "seed {seed}: {outcome:?}");
    }
    for (what, count, least) in [
        ("lost", links.lost, 10_000),
        ("corrupted", links.corrupted, 1_000),
        ("clients by cookie", cookies, 500),
        ("held up at a full queue", held_up, 100),
    ] {
        println!("{what}: {count}");
        assert!(count >= least, "few {what}: {count}");
    }
}
