//! The peer's window, as its acknowledgements tell it.

/// SND.WND and what the last update was taken from (RFC 9293 §3.3.1).
#[derive(Debug)]
pub(crate) struct SendWindow {
    /// Up to where the peer takes data.
    edge: u64,
    size: u64,
    size_max: u64,
    updated_by_seq: u64,
    updated_by_ack: u64,
}

impl SendWindow {
    /// The window of a SYN or SYN-ACK, which is never scaled (RFC 7323 §2.2).
    pub(crate) fn new(seq: u64, ack: u64, size: u64) -> Self {
        Self {
            edge: ack + size,
            size,
            size_max: size,
            updated_by_seq: seq,
            updated_by_ack: ack,
        }
    }

    /// Takes the window of an acceptable acknowledgement, unless it is an old one.
    ///
    /// RFC 9293 §3.10.7.4, fifth check. True if it changed. A window that shrinks is
    /// taken as it is: what is in flight behind its edge stays in flight (§3.8.6).
    ///
    /// DEVIATION: what acknowledges more than ever before counts as new whatever its own
    /// number is. If the peer sends old data again with it, the rule of the RFC would
    /// leave us with the older window, and nothing might come to correct it.
    pub(crate) fn update(&mut self, seq: u64, ack: u64, size: u64, advances: bool) -> bool {
        let newer = advances
            || self.updated_by_seq < seq
            || (self.updated_by_seq == seq && self.updated_by_ack <= ack);
        if !newer {
            return false;
        }
        let changed = size != self.size;
        self.updated_by_seq = seq;
        self.updated_by_ack = ack;
        self.edge = ack + size;
        self.size = size;
        self.size_max = self.size_max.max(size);
        changed
    }

    pub(crate) fn edge(&self) -> u64 {
        self.edge
    }

    /// Whether the peer takes nothing from `unacked` on.
    pub(crate) fn is_closed(&self, unacked: u64) -> bool {
        self.edge <= unacked
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The largest there was (MAX.SND.WND of RFC 5961 §5.2).
    pub(crate) fn size_max(&self) -> u64 {
        self.size_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9293 §3.10.7.4: SND.WL1 and SND.WL2 keep old segments from changing it.
    #[test]
    fn an_old_segment_does_not_change_the_window() {
        let mut window = SendWindow::new(100, 200, 50);
        for (seq, ack, size, advances, edge) in [
            (100, 200, 60, false, 260),
            (99, 200, 10, false, 260),
            (100, 199, 10, false, 260),
            (101, 200, 20, false, 220),
            (99, 210, 30, true, 240),
            (102, 210, 0, false, 210),
        ] {
            window.update(seq, ack, size, advances);
            assert_eq!(window.edge(), edge, "{seq} {ack}");
        }
        assert!(window.is_closed(210));
        assert_eq!(window.size_max(), 60);
    }
}
