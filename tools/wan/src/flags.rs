//! Flags.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::settings::LineSettings;

/// Two network namespaces joined by a bad line
#[derive(Parser)]
#[command(name = "wanlink", version)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Starts SERVER at end A and CLIENT at end B, reports, takes all down
    Run(RunFlags),
    /// Holds a link up until a signal; enter it with `ip netns exec wl-PID-a ...`
    Up(UpFlags),
    /// Prints the profiles
    Profiles,
    #[command(hide = true)]
    Guard,
    /// Removes the names of namespaces whose wanlink was killed
    Clean,
}

#[derive(Args)]
pub(crate) struct RunFlags {
    #[command(flatten)]
    pub(crate) link: LinkFlags,
    /// Kills the client after this long (exit code 124)
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    /// Starts the client only when this TCP or UDP port is open in A (after at most 30 s)
    #[arg(long, value_name = "PORT")]
    pub(crate) wait_port: Option<u16>,
    /// Starts the client only after this long
    #[arg(long, value_name = "TIME", default_value = "0")]
    pub(crate) wait: String,
    /// Where the server's output goes, if not where ours goes
    #[arg(long, value_name = "FILE")]
    pub(crate) server_log: Option<PathBuf>,
    /// SERVER ::: CLIENT, or only CLIENT
    #[arg(last = true, required = true, value_name = "WORD")]
    pub(crate) commands: Vec<String>,
}

#[derive(Args)]
pub(crate) struct UpFlags {
    #[command(flatten)]
    pub(crate) link: LinkFlags,
    /// Takes the link down after this long
    #[arg(long, value_name = "TIME")]
    pub(crate) r#for: Option<String>,
}

#[derive(Args)]
pub(crate) struct LinkFlags {
    /// Begins with a profile (see `wanlink profiles`), which the other flags change
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Delay in each direction
    #[arg(long, value_name = "TIME")]
    delay: Option<String>,
    /// Round-trip delay: half of it in each direction
    #[arg(long, value_name = "TIME")]
    rtt: Option<String>,
    /// The delay wanders by up to this much, and the order is kept
    #[arg(long, value_name = "TIME")]
    jitter: Option<String>,
    /// How fast it wanders [default: 20ms]
    #[arg(long, value_name = "TIME")]
    jitter_period: Option<String>,
    /// Draws the jitter for each packet, so that packets overtake
    #[arg(long)]
    jitter_reorder: bool,
    /// Loss of each packet by itself
    #[arg(long, value_name = "SHARE")]
    loss: Option<String>,
    /// Losses in bursts by Gilbert and Elliott, stepped with each packet
    #[arg(long, value_name = "P:R[:BAD[:GOOD]]")]
    ge: Option<String>,
    /// Outages: mean times up and down
    #[arg(long, value_name = "UP:DOWN")]
    outage: Option<String>,
    /// Nothing passes from START for LENGTH (may be repeated)
    #[arg(long, value_name = "START:LENGTH")]
    cut: Vec<String>,
    /// Share of packets that are held back and overtaken
    #[arg(long, value_name = "SHARE")]
    reorder: Option<String>,
    /// By up to this much [default: 5ms]
    #[arg(long, value_name = "TIME")]
    reorder_by: Option<String>,
    /// Share of packets that arrive twice
    #[arg(long, value_name = "SHARE")]
    dup: Option<String>,
    /// Share of packets with a bit of the payload flipped; checksums catch it
    #[arg(long, value_name = "SHARE")]
    corrupt: Option<String>,
    /// The same with the checksum mended, so that the kernel cannot tell
    #[arg(long, value_name = "SHARE")]
    corrupt_silent: Option<String>,
    /// Rate of the bottleneck in IP bytes: 200mbit, 1gbit
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// Its queue: 500kB, 100p (packets), 1bdp [default: 1bdp, at least 100 packets]
    #[arg(long, value_name = "SIZE")]
    queue: Option<String>,
    /// Marks congestion above this queue
    #[arg(long, value_name = "SIZE")]
    ecn: Option<String>,
    /// Added to each packet when its time on the line is counted (38 for Ethernet)
    #[arg(long, value_name = "BYTES")]
    overhead: Option<String>,
    /// Longer packets vanish
    #[arg(long, value_name = "BYTES")]
    pmtu: Option<String>,
    /// Changes for A to B, server to client: the flags above without dashes
    #[arg(long, value_name = "KEY=VALUE,...")]
    ab: Option<String>,
    /// Changes for B to A
    #[arg(long, value_name = "KEY=VALUE,...")]
    ba: Option<String>,
    /// Of the random numbers
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Of the devices, in bytes
    #[arg(long, default_value_t = 1_500)]
    pub(crate) mtu: u16,
    /// Address of A
    #[arg(long, default_value = "10.77.0.1")]
    pub(crate) addr_a: String,
    /// Address of B
    #[arg(long, default_value = "10.77.0.2")]
    pub(crate) addr_b: String,
    /// Length of the addresses' common prefix
    #[arg(long, default_value_t = 24)]
    pub(crate) prefix: u8,
    /// Also fd77::1 and fd77::2
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// Name of A's namespace, which is made and removed unless it is there
    #[arg(long, value_name = "NAME")]
    pub(crate) ns_a: Option<String>,
    /// Name of B's namespace
    #[arg(long, value_name = "NAME")]
    pub(crate) ns_b: Option<String>,
    /// Set in both namespaces (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) sysctl: Vec<String>,
    /// Congestion control of both ends over IPv4 [default: the machine's]
    #[arg(long, value_name = "NAME")]
    pub(crate) cc: Option<String>,
    /// Packets that a device holds for the emulator
    #[arg(long, default_value_t = 10_000)]
    pub(crate) txqueuelen: u32,
    /// While packets flow, the device is looked at this often
    #[arg(long, value_name = "TIME", default_value = "50us")]
    pub(crate) tick: String,
    /// Threads of ordinary priority (nice -20) instead of real time
    #[arg(long)]
    pub(crate) no_rt: bool,
    /// Where the summary goes [default: standard error]
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl LinkFlags {
    /// What the line does from A to B, and from B to A.
    pub(crate) fn lines(&self) -> anyhow::Result<[LineSettings; 2]> {
        let mut both = match &self.profile {
            Some(name) => LineSettings::of_profile(name)?,
            None => LineSettings::default(),
        };
        for (key, value) in [
            ("delay", &self.delay),
            ("rtt", &self.rtt),
            ("jitter", &self.jitter),
            ("jitter-period", &self.jitter_period),
            ("loss", &self.loss),
            ("ge", &self.ge),
            ("outage", &self.outage),
            ("reorder", &self.reorder),
            ("reorder-by", &self.reorder_by),
            ("dup", &self.dup),
            ("corrupt", &self.corrupt),
            ("corrupt-silent", &self.corrupt_silent),
            ("rate", &self.rate),
            ("queue", &self.queue),
            ("ecn", &self.ecn),
            ("overhead", &self.overhead),
            ("pmtu", &self.pmtu),
        ] {
            if let Some(value) = value {
                both.set(key, value)?;
            }
        }
        for cut in &self.cut {
            both.set("cut", cut)?;
        }
        both.jitter_reorders |= self.jitter_reorder;
        let mut lines = [both.clone(), both];
        let changes = [("--ab", &self.ab), ("--ba", &self.ba)];
        for (line, (flag, changes)) in lines.iter_mut().zip(changes) {
            line.set_all(changes.as_deref().unwrap_or_default())
                .context(flag)?;
            line.resolve(self.mtu.into());
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_change_profiles_and_one_direction() {
        let words = "wanlink run --profile lossy --rtt 20ms --ab loss=0 --ba delay=5ms -- true";
        let Command::Run(flags) = Flags::parse_from(words.split(' ')).command else {
            unreachable!("it was `run`");
        };
        let [a_to_b, b_to_a] = flags.link.lines().unwrap();
        assert_eq!((a_to_b.delay_ns, b_to_a.delay_ns), (10_000_000, 5_000_000));
        assert_eq!((a_to_b.loss, b_to_a.loss), (0.0, 0.01));
        assert_eq!(a_to_b.rate_bits, 100_000_000);
        assert_eq!(flags.commands, ["true"]);
    }
}
