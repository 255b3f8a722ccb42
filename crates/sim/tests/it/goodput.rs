//! How fast one stream is must not fall unnoticed.

use packhorse_sim::goodput::{self, Cell};

/// What was measured when something about it was changed last.
const KEPT: &str = include_str!("../../goodput.txt");

/// A cell may be so much slower, in parts of a hundred: less is chance.
const SLOWER_MAX: u64 = 10;

/// Cells of which so many kilobytes a second were kept are quickly measured again.
const QUICK_KILOBYTES: u64 = 1_500;

#[test]
fn no_path_has_become_slower() {
    let kept = goodput::parse(KEPT);
    assert_eq!(kept.len(), Cell::all().count(), "another table");
    for (cell, kept) in Cell::all().zip(kept) {
        if kept > QUICK_KILOBYTES {
            continue;
        }
        let goodput = cell.measure().expect("the stream comes through");
        assert!(
            goodput * 100 >= kept * (100 - SLOWER_MAX),
            "{goodput} kB/s: {cell:?} had {kept}; if that is meant, keep the new table by\n\
             cargo run --release -p packhorse-sim -- goodput > crates/sim/goodput.txt"
        );
    }
}
