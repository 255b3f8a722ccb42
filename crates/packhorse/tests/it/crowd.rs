//! Many at once, of whom most say nothing.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::sandbox::Sandbox;

const SILENT: usize = 1000;
const CLIENTS: usize = 40;
/// Resident memory of the server, in KiB.
const MEMORY_MAX: u64 = 300 << 10;

/// What strangers do with a connection, apart from keeping it.
const OPENINGS: [&[u8]; 4] = [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HT", b"PATH"];

fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_thousand_silent_connections_disturb_nobody() {
    let sandbox = Sandbox::new();
    sandbox.serve_file("large", vec![42; 20 << 20]);
    for number in 0..100 {
        sandbox.serve_file(format!("small/{number}"), format!("{number}"));
    }
    let server = sandbox.serve(&[]);
    let silent: Vec<_> = (0..SILENT)
        .map(|number| {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
            stream
                .set_write_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            // The server may have sent it away already.
            let _ = stream.write_all(OPENINGS[number % OPENINGS.len()]);
            stream
        })
        .collect();
    let names: Vec<_> = (0..CLIENTS).map(|number| number.to_string()).collect();
    let running: Vec<_> = names
        .iter()
        .map(|name| sandbox.start(&mut sandbox.command(&["get", &server.address, "-o", name])))
        .collect();
    for client in running {
        client.wait().code(0);
    }
    for name in &names {
        assert_eq!(sandbox.read(&format!("{name}/large")).len(), 20 << 20);
        assert_eq!(sandbox.read(&format!("{name}/small/99")), b"99");
    }
    let peak = peak_memory(server.running.id());
    assert!(peak < MEMORY_MAX, "the server took {peak} KiB");
    drop(silent);
    assert_eq!(server.stop().code, Some(0));
}
