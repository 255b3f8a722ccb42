//! What `tshark` says of our packets.

use std::process::{Command, Stdio};
use std::{env, fs};

use packhorse_sim::pcapng;
use packhorse_sim::scenario::Scenario;
use packhorse_sim::trace::{Passing, Record};
use packhorse_sim::world::Side;

const WORLDS: u64 = 200;

/// Every packet that left one of our stacks in some worlds.
fn sent() -> Vec<Record> {
    let mut records = Vec::new();
    for seed in 0..WORLDS {
        let outcome = Scenario::draw(seed).run(true);
        let outcome = outcome.unwrap_or_else(|(wrong, _)| panic!("seed {seed}: {wrong}"));
        let trace = outcome.trace.expect("was recorded");
        let left = trace.records().iter().filter(|record| {
            matches!(record.passing, Passing::Out(_)) && record.side == Side::Left
        });
        records.extend(left.take(500).cloned());
        let right = trace.records().iter().filter(|record| {
            matches!(record.passing, Passing::Out(_)) && record.side == Side::Right
        });
        records.extend(right.take(500).cloned());
    }
    records
}

#[test]
fn tshark_finds_nothing_malformed() {
    if Command::new("tshark")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_err()
    {
        assert!(
            env::var_os("CI").is_none(),
            "tshark must be there where CI=true"
        );
        eprintln!("SKIPPED: tshark is not installed");
        return;
    }
    let records = sent();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("sent.pcapng");
    fs::write(&path, pcapng::write(&records)).expect("the file can be written");
    let tshark = |filter: &str| {
        let output = Command::new("tshark")
            .args([
                "-o",
                "ip.check_checksum:TRUE",
                "-o",
                "tcp.check_checksum:TRUE",
            ])
            .arg("-r")
            .arg(&path)
            .args(["-Y", filter])
            .stdin(Stdio::null())
            .output()
            .expect("tshark runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let seen = tshark("tcp && tcp.checksum.status == \"Good\"");
    assert_eq!(seen.lines().count(), records.len());
    // Malformed: 0x07000000; a wrong checksum: 0x01000000; the severity of an error: 0x00800000.
    let wrong = tshark(
        "_ws.malformed || _ws.expert.group == 0x07000000 || _ws.expert.group == 0x01000000 \
         || _ws.expert.severity == 0x00800000",
    );
    assert_eq!(wrong, "");
}
