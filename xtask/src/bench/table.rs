//! Medians, and ratios of them.

use super::case::Case;
use super::measure::{Measured, Scene};
use super::peer::Peer;

/// What one peer took, run by run.
pub(super) struct Row {
    pub(super) peer: &'static Peer,
    runs: Vec<Measured>,
    failure: Option<String>,
}

impl Row {
    pub(super) fn new(peer: &'static Peer) -> Self {
        Self {
            peer,
            runs: Vec::new(),
            failure: None,
        }
    }

    pub(super) fn add(&mut self, run: anyhow::Result<Measured>) {
        match run {
            Ok(run) => self.runs.push(run),
            Err(error) => self.failure = Some(format!("{error:#}")),
        }
    }

    fn median(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        let mut values: Vec<_> = self.runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        match values.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => values[count / 2],
            count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
        }
    }

    fn wall(&self) -> f64 {
        self.median(|run| run.wall)
    }

    /// The peer's name, as a cell of a table.
    fn shown_name(&self) -> String {
        self.peer.name.replace('|', "\\|")
    }
}

/// Prints the medians of a case as a table in Markdown, each peer's commands, and how far the goals
/// are.
pub(super) fn print(case: Case, rows: &[Row], scene: &Scene) {
    let ours = rows.iter().find(|row| row.peer.is_ours());
    let ours = ours.map_or(f64::NAN, Row::wall);
    println!("\n## {case}\n");
    println!("| tool | wall s | packhorse takes | CPU s client / server | client MiB | |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for row in rows {
        let name = row.shown_name();
        let wall = row.wall();
        // A single wrong or failed run is worse than a slow one.
        let remark = row.failure.as_deref().unwrap_or(row.peer.traits);
        println!(
            "| {name} | {wall:.3} | {:.2} | {:.2} / {:.2} | {:.0} | {remark} |",
            ours / wall,
            row.median(|run| run.client_cpu),
            row.median(|run| run.server_cpu),
            row.median(|run| run.client_mib),
        );
    }
    for &(name, goal) in case.goals() {
        if let Some(row) = rows.iter().find(|row| row.peer.name == name) {
            let ratio = ours / row.wall();
            let word = if ratio <= goal { "reached" } else { "missed" };
            println!("\ngoal {goal} of {name}: {ratio:.2}, {word}");
        }
    }
    println!("\nmedians; the commands:\n");
    for row in rows {
        let commands = scene
            .setting(case)
            .ok()
            .and_then(|setting| (row.peer.commands)(scene, &setting).ok());
        if let Some(commands) = commands {
            let (server, client) = (commands.server.join(" "), commands.client.join(" "));
            println!("- {}: `{server}` and `{client}`", row.peer.name);
        }
    }
}

/// A row of the table of all cases: what we took, what each peer took, and which part of that ours
/// is.
pub(super) fn summary(case: Case, rows: &[Row]) -> String {
    let (ours, peers): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.peer.is_ours());
    let ours = ours.first().map_or(f64::NAN, |row| row.wall());
    let peers: Vec<_> = peers
        .iter()
        .map(|row| match row.failure {
            Some(_) => format!("{} fails", row.shown_name()),
            None => {
                let (name, wall) = (row.shown_name(), row.wall());
                format!("{name} {} ({:.2})", seconds(wall), ours / wall)
            }
        })
        .collect();
    format!("| {case} | {} | {} |", seconds(ours), peers.join(", "))
}

/// With three digits, or in ms.
fn seconds(seconds: f64) -> String {
    match seconds {
        _ if seconds < 0.1 => format!("{:.0} ms", seconds * 1000.0),
        _ => format!("{seconds:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::super::peer::PEERS;
    use super::*;

    /// A run of which only the time matters.
    fn run(wall: f64) -> Measured {
        Measured {
            wall,
            client_cpu: 0.0,
            server_cpu: 0.0,
            client_mib: 0.0,
            server_mib: 0.0,
        }
    }

    #[test]
    fn medians_are_in_the_middle() {
        for (walls, median) in [
            (&[3.0, 1.0, 2.0][..], 2.0),
            (&[4.0, 1.0], 2.5),
            (&[7.0], 7.0),
        ] {
            let mut row = Row::new(&PEERS[0]);
            for &wall in walls {
                row.add(Ok(run(wall)));
            }
            assert!((row.wall() - median).abs() < 1e-9, "{walls:?}");
        }
    }

    #[test]
    fn a_summary_has_ratios_and_failures() {
        let row = |name: &str, wall: Option<f64>| {
            let peer = PEERS.iter().find(|peer| peer.name == name).unwrap();
            let mut row = Row::new(peer);
            row.add(wall.map(run).context("wrong"));
            row
        };
        let rows = [
            row("packhorse", Some(0.05)),
            row("tar|nc|tar", Some(0.2)),
            row("rsyncd", None),
        ];
        let expected = "| tree | 50 ms | tar\\|nc\\|tar 0.20 s (0.25), rsyncd fails |";
        assert_eq!(summary(Case::Tree, &rows), expected);
    }
}
