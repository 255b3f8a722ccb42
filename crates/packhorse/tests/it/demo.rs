//! `packhorse demo`

use std::fs;

use crate::sandbox::Sandbox;

#[test]
fn the_demo_proves_what_it_says_and_cleans_up() {
    let sandbox = Sandbox::new();
    let place = sandbox.path("demo");
    fs::create_dir(&place).unwrap();
    let ended = sandbox
        .run(&["demo", "--directory", place.to_str().unwrap()])
        .code(0);
    for text in [
        "was refused (exit code 4)",
        "SIGKILL",
        "Changed one byte",
        "The third client went on with",
        "third: 41",
        "9. What this has shown",
    ] {
        assert!(
            ended.text().contains(text),
            "{text:?} is not in: {}",
            ended.text()
        );
    }
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
}
