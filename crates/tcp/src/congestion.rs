//! How much may be in flight: the controllers.

/// Which controller sets the congestion window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Congestion {
    /// Slow start and congestion avoidance (RFC 5681, RFC 6582).
    NewReno,
    /// CUBIC with HyStart++ (RFC 9438, RFC 9406).
    #[default]
    Cubic,
}
