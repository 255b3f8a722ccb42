//! What `--so_flags` means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packhorse_tcp::congestion::Congestion;
use packhorse_tcp::{Config, EndpointConfig};

/// packetdrill's own addresses for the stack under test, unless a script says otherwise.
const LOCAL_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
const LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0xfd3d, 0xa0b, 0x17d6, 0, 0, 0, 0, 1);

/// How the stack behaves.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    /// Where a socket calls from that was not bound.
    pub(crate) local_v4: Ipv4Addr,
    pub(crate) local_v6: Ipv6Addr,
}

impl Settings {
    /// `name=value` words, separated by commas; what is not understood, in words.
    ///
    /// `mtu`, `receive_buffer`, `send_buffer`, `initial_window`, `quick_acks` (numbers), `nagle`,
    /// `timestamps`, `sack`, `window_scale`, `pacing` (`on` or `off`), `congestion` (`newreno` or
    /// `cubic`), `local` (an address of either family).
    pub(crate) fn parse(flags: &str) -> Result<Self, String> {
        let mut settings = Self {
            config: Config::default(),
            local_v4: LOCAL_V4,
            local_v6: LOCAL_V6,
        };
        for word in flags.split(',').filter(|word| !word.trim().is_empty()) {
            word.split_once('=')
                .and_then(|(name, value)| settings.set(name.trim(), value.trim()))
                .ok_or_else(|| format!("--so_flags: `{word}` is not understood"))?;
        }
        Ok(settings)
    }

    /// What the endpoint is told.
    pub(crate) fn endpoint(&self) -> EndpointConfig {
        EndpointConfig {
            connection: self.config.clone(),
            ..EndpointConfig::default()
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let config = &mut self.config;
        match name {
            "mtu" => config.mtu_bytes = value.parse().ok()?,
            "receive_buffer" => config.receive_buffer_bytes = value.parse().ok()?,
            "send_buffer" => config.send_buffer_bytes = value.parse().ok()?,
            "initial_window" => config.initial_window_segments = value.parse().ok()?,
            "quick_acks" => config.quick_acks = value.parse().ok()?,
            "nagle" => config.nagle = switch(value)?,
            "timestamps" => config.timestamps = switch(value)?,
            "sack" => config.sack = switch(value)?,
            "window_scale" => config.window_scale = switch(value)?,
            "pacing" => config.pacing = switch(value)?,
            "congestion" => {
                config.congestion = match value {
                    "newreno" => Congestion::NewReno,
                    "cubic" => Congestion::Cubic,
                    _ => return None,
                }
            }
            "local" => match value.parse().ok()? {
                IpAddr::V4(local) => self.local_v4 = local,
                IpAddr::V6(local) => self.local_v6 = local,
            },
            _ => return None,
        }
        Some(())
    }
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_words_with_values() {
        let settings = Settings::parse("sack=off, mtu=1280,local=10.0.0.1,").unwrap();
        assert!(!settings.config.sack && settings.config.timestamps);
        assert_eq!(settings.config.mtu_bytes, 1_280);
        assert_eq!(settings.local_v4, Ipv4Addr::new(10, 0, 0, 1));
        for wrong in ["sack", "sack=maybe", "color=red"] {
            assert!(Settings::parse(wrong).unwrap_err().contains(wrong));
        }
    }
}
