//! Every script, over IPv4 and IPv6, with and without numbers that wrap.

use packhorse_sim::script::{Library, Script, Variant};

const SCRIPTS_MIN: usize = 150;

#[test]
fn every_script_holds() {
    let library = Library::open().expect("the scripts can be read");
    let mut played = 0;
    let mut failures = Vec::new();
    for name in library.names() {
        if library.is_wanted(name) {
            println!("NOT PLAYED, see WANTED.md: {name}");
            continue;
        }
        played += 1;
        if let Err(failure) = library.play(name, &Variant::ALL) {
            failures.push(format!("{name}: {failure}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(played >= SCRIPTS_MIN, "{played} scripts");
}

#[test]
fn every_script_cites_its_rule() {
    let library = Library::open().expect("the scripts can be read");
    for name in library.names() {
        let text = library.text(name).expect("a script can be read");
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("// "),
            "{name} does not say what it checks"
        );
        assert!(
            first.contains("RFC ") || first.contains("CVE-"),
            "{name} does not say where its rule is written"
        );
    }
    for name in library.wanted() {
        let is_there = library.names().contains(name);
        assert!(is_there, "WANTED.md lists {name}, which there is not");
    }
}

/// A runner that accepts anything would pass every script.
#[test]
fn a_script_that_is_wrong_fails() {
    let open = "0 listen()\n\
                +0 < S 0:0(0) win 65535 <mss 1000,sackOK>\n\
                +0 > S. 0:0(0) ack 1 <...>\n\
                +.1 < . 1:1(0) ack 1 win 65535\n";
    for (steps, message) in [
        (
            "+0 write(1000)\n+0 > . 1:1001(1000) ack 2",
            "acknowledgement",
        ),
        (
            "+0 write(1000)\n+0 > . 2:1002(1000) ack 1",
            "sequence number",
        ),
        ("+0 write(1000)\n+0 > . 1:901(900) ack 1", "length"),
        ("+0 write(1000)\n+0 > F. 1:1001(1000) ack 1", "flag"),
        ("+0 write(1000)\n+0 > . 1:1001(1000) ack 1 win 1", "window"),
        (
            "+0 write(1000)\n+0 > . 1:1001(1000) ack 1 <sack 1:2>",
            "options",
        ),
        ("+0 write(1000)\n+.1 > . 1:1001(1000) ack 1", "earliest"),
        ("+0 write(1000)\n+1 quiet", "unexpected"),
        ("+0 write(1000)", "unexpected"),
        ("+0 > . 1:1(0) ack 1", "nothing was sent"),
        ("+0 state FIN-WAIT-1", "the state is ESTABLISHED"),
        ("+0 event reset", "no such event"),
        ("+0 read(10) = 10", "what is read"),
        ("set flavour 1\n+0 quiet", "no such setting"),
    ] {
        let script = Script::parse(&format!("{open}{steps}\n"), &|_| None).expect(steps);
        let failure = script.play(Variant::ALL[0]).expect_err(steps).to_string();
        assert!(failure.contains(message), "{steps}: {failure}");
    }
}
