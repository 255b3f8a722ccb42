//! A wire that cuts, resets, delays and damages connections at any TLS record, in either direction.
//! (THREATS 23 and 24.)
//!
//! Some records in every test run; all of them with `PACKHORSE_ALL_RECORDS=1`.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::sandbox::{Sandbox, Server, json_lines, walk};

const MIB: usize = 1 << 20;
/// Before these have passed, a client has not reached the server yet.
const HANDSHAKE_RECORDS: usize = 8;

/// What becomes of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The connection ends before it.
    Cut,
    /// The connection ends within it.
    CutWithin,
    /// The connection is reset within it.
    Reset,
    /// One of its bits is another.
    Flip,
    /// It comes late, and every other one a little.
    Delay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// A way to the server on which one record of the first connection meets with a fault.
struct Wire {
    port: u16,
    fault: Mutex<Option<(Way, usize, Fault)>>,
    connections: AtomicUsize,
    records: [AtomicUsize; 2],
    is_over: AtomicBool,
}

impl Wire {
    fn to(server_port: u16) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Arc::new(Self {
            port: listener.local_addr().unwrap().port(),
            fault: Mutex::default(),
            connections: AtomicUsize::new(0),
            records: Default::default(),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&wire);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { break };
                if shared.is_over.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else {
                    continue;
                };
                let is_first = shared.connections.fetch_add(1, Ordering::Relaxed) == 0;
                for (way, from, to) in [
                    (Way::ToServer, &client, &server),
                    (Way::ToClient, &server, &client),
                ] {
                    let (wire, from, to) = (
                        Arc::clone(&shared),
                        from.try_clone().unwrap(),
                        to.try_clone().unwrap(),
                    );
                    thread::spawn(move || drop(wire.pass(way, is_first, from, to)));
                }
            }
        });
        wire
    }

    /// From now on, record `number` of the next connection meets with `fault`.
    fn arm(&self, fault: Option<(Way, usize, Fault)>) {
        *self.fault.lock().unwrap() = fault;
        self.connections.store(0, Ordering::Relaxed);
        for records in &self.records {
            records.store(0, Ordering::Relaxed);
        }
    }

    fn pass(
        &self,
        way: Way,
        is_first: bool,
        mut from: TcpStream,
        mut to: TcpStream,
    ) -> io::Result<()> {
        let fault = self.fault.lock().unwrap().filter(|_| is_first);
        let end = |from: &TcpStream, to: &TcpStream| {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        };
        for number in 0.. {
            let mut record = vec![0; 5];
            if from.read_exact(&mut record).is_err() {
                let _ = to.shutdown(Shutdown::Write);
                return Ok(());
            }
            let length = usize::from(record[3]) << 8 | usize::from(record[4]);
            record.resize(5 + length, 0);
            from.read_exact(&mut record[5..])?;
            self.records[way as usize].fetch_add(usize::from(is_first), Ordering::Relaxed);
            match fault.filter(|&(on, at, _)| (on, at) == (way, number)) {
                None => {}
                Some((_, _, Fault::Cut)) => {
                    end(&from, &to);
                    return Ok(());
                }
                Some((_, _, Fault::CutWithin)) => {
                    to.write_all(&record[..5 + length / 2])?;
                    end(&from, &to);
                    return Ok(());
                }
                Some((_, _, Fault::Reset)) => {
                    to.write_all(&record[..5 + length / 2])?;
                    // A socket with no time to linger is reset by its last close; the other
                    // direction's thread holds it too, until it has nothing to read any more.
                    for socket in [&to, &from] {
                        socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
                        let _ = socket.shutdown(Shutdown::Read);
                    }
                    return Ok(());
                }
                Some((_, _, Fault::Flip)) => {
                    let at = 5 + (number * 7919) % length;
                    record[at] ^= 1 << (number % 8);
                }
                Some((_, _, Fault::Delay)) => thread::sleep(Duration::from_millis(300)),
            }
            to.write_all(&record)?;
        }
        Ok(())
    }
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.0.port));
    }
}

/// Ends the wire's thread.
struct Over<'a>(&'a Wire);

fn run(sandbox: &Sandbox, server: &Server<'_>, wire: &Wire, fault: Option<(Way, usize, Fault)>) {
    wire.arm(fault);
    let port = server.port().to_string();
    let address = server
        .address
        .replace(&format!(":{port}"), &format!(":{}", wire.port));
    let destination = sandbox.path("here").join("dest");
    let report = sandbox.path("report");
    let mut command = sandbox.command(&["get", "--quiet", "--connections", "1", "-o", "dest"]);
    command.arg("--report").arg(&report).arg(address);
    let ended = sandbox.start(&mut command).wait();
    let is_early = fault.is_some_and(|(_, at, _)| at < HANDSHAKE_RECORDS);
    if is_early && ended.code == Some(3) {
        // It was never there; and nothing else was made of it, such as a wrong key.
        assert!(!destination.exists());
        return;
    }
    assert_eq!(ended.code, Some(0), "{fault:?}: {}", ended.stderr);
    assert_eq!(
        walk(&destination),
        walk(&sandbox.path("served")),
        "{fault:?}"
    );
    let summary = json_lines(&fs::read(&report).unwrap()).pop().unwrap();
    assert_eq!(summary["damaged"], 0, "TLS has found it: {fault:?}");
    let size = (MIB + 9 + 600 * 3) as u64;
    assert_eq!(
        summary["bytes_fetched"], size,
        "no group came twice: {fault:?}"
    );
    fs::remove_dir_all(&destination).unwrap();
}

#[test]
fn whatever_happens_to_a_record_everything_arrives() {
    let sandbox = Sandbox::in_memory();
    sandbox.serve_file("large", vec![7; MIB + 9]);
    for number in 0..3 {
        sandbox.serve_file(format!("d/{number}"), vec![number; 600]);
    }
    let server = sandbox.serve(&[]);
    let wire = Wire::to(server.port());
    let _over = Over(&wire);
    run(&sandbox, &server, &wire, None);
    let counts = [Way::ToServer, Way::ToClient]
        .map(|way| (way, wire.records[way as usize].load(Ordering::Relaxed)));
    assert!(counts[0].1 > 3 && counts[1].1 > 60, "{counts:?}");
    let all = env::var_os("PACKHORSE_ALL_RECORDS").is_some();
    let mut runs = 0;
    for (way, count) in counts {
        for (offset, fault) in [
            Fault::Cut,
            Fault::CutWithin,
            Fault::Reset,
            Fault::Flip,
            Fault::Delay,
        ]
        .into_iter()
        .enumerate()
        {
            let stride = if all { 1 } else { (count / 4).max(1) };
            for number in (offset * usize::from(!all)..count).step_by(stride) {
                run(&sandbox, &server, &wire, Some((way, number, fault)));
                runs += 1;
            }
        }
    }
    println!("{runs} runs over {counts:?} records");
}
