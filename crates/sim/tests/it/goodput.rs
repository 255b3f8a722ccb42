//! How fast one stream is must not fall unnoticed.

use packhorse_sim::goodput;

/// What was measured when something about it was changed last.
const KEPT: &str = include_str!("../../goodput.txt");

/// A cell may be so much slower, in parts of a hundred: less is chance.
const SLOWER_MAX: u64 = 10;

#[test]
fn no_path_has_become_slower() {
    let cells = goodput::measure().expect("every stream comes through");
    let table = goodput::table(&cells);
    let kept = goodput::parse(KEPT);
    assert_eq!(kept.len(), cells.len(), "another table:\n{table}");
    for (cell, kept) in cells.iter().zip(kept) {
        assert!(
            cell.goodput * 100 >= kept * (100 - SLOWER_MAX),
            "{cell:?} had {kept}; if that is meant, keep the new table by\n\
             cargo run -p packhorse-sim -- goodput > crates/sim/goodput.txt\n{table}"
        );
    }
    // Without losses a stream fills the path; with them it takes what its controller allows.
    let best = cells.iter().map(|cell| cell.goodput).max();
    assert!(best.is_some_and(|best| best > 11_000), "{table}");
}
