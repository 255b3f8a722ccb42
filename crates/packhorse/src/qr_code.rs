//! A QR code, drawn for a camera that looks at the terminal.

use qrcode::Color;
use qrcode::types::QrError;

/// The white that must be around it, in modules (ISO/IEC 18004 §9.1).
const QUIET_MODULES: usize = 4;

/// Black on white, of the colours that no theme changes, and back to what was before.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

/// The modules of a QR code.
pub(crate) struct QrCode {
    modules: Vec<Color>,
    /// How many stand in a row.
    side: usize,
}

/// What it is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Black on white, whatever the terminal's own colours are.
    Coloured,
    /// The terminal's own: white is drawn and black is not, for most terminals are dark. On a light
    /// one it comes out inverted, which most cameras read too.
    Plain,
}

impl QrCode {
    /// That of `text`.
    ///
    /// # Errors
    /// The text is too long: beyond some 2,300 bytes.
    pub(crate) fn of(text: &str) -> Result<Self, QrError> {
        let code = qrcode::QrCode::new(text)?;
        Ok(Self {
            side: code.width(),
            modules: code.into_colors(),
        })
    }

    /// The columns that it takes with the white around it.
    #[must_use]
    pub(crate) fn columns(&self) -> usize {
        self.side + 2 * QUIET_MODULES
    }

    /// The lines of the picture: each character holds two modules, one above the other.
    pub(crate) fn lines(&self, ink: Ink) -> impl Iterator<Item = String> {
        (0..self.columns()).step_by(2).map(move |top| {
            let row = (0..self.columns()).map(|column| {
                let [above, below] = [top, top + 1].map(|row| self.is_dark(column, row));
                half_blocks(ink, above, below)
            });
            match ink {
                Ink::Coloured => format!("{BLACK_ON_WHITE}{}{RESET}", row.collect::<String>()),
                Ink::Plain => row.collect(),
            }
        })
    }

    /// Whether the module is dark; what is around the code is not.
    fn is_dark(&self, column: usize, row: usize) -> bool {
        let at = |place: usize| {
            let place = place.checked_sub(QUIET_MODULES)?;
            (place < self.side).then_some(place)
        };
        let (Some(column), Some(row)) = (at(column), at(row)) else {
            return false;
        };
        self.modules[row * self.side + column] == Color::Dark
    }
}

/// Two modules in one character.
fn half_blocks(ink: Ink, is_dark_above: bool, is_dark_below: bool) -> char {
    let is_drawn = |is_dark| is_dark == (ink == Ink::Coloured);
    match (is_drawn(is_dark_above), is_drawn(is_dark_below)) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://192.168.1.20:7225/?key=uqvtdabcdefghijklmnopqrstu";

    /// Reads the picture as a camera sees it: which of its points are dark.
    fn look(ink: Ink, lines: impl Iterator<Item = String>) -> Vec<Vec<bool>> {
        let mut seen = Vec::new();
        for line in lines {
            let text = match ink {
                Ink::Coloured => {
                    let text = line.strip_prefix(BLACK_ON_WHITE).unwrap();
                    text.strip_suffix(RESET).unwrap()
                }
                Ink::Plain => &line,
            };
            let is_dark = |is_drawn: bool| is_drawn == (ink == Ink::Coloured);
            seen.push(text.chars().map(|c| is_dark("█▀".contains(c))).collect());
            seen.push(text.chars().map(|c| is_dark("█▄".contains(c))).collect());
        }
        seen
    }

    #[test]
    fn either_ink_draws_the_code_in_enough_white() {
        let expected = qrcode::QrCode::new(URL).unwrap();
        let code = QrCode::of(URL).unwrap();
        assert_eq!(code.columns(), expected.width() + 8);
        for ink in [Ink::Coloured, Ink::Plain] {
            let seen = look(ink, code.lines(ink));
            assert_eq!(seen.len(), code.columns().next_multiple_of(2));
            for (row, points) in seen.iter().enumerate() {
                assert_eq!(points.len(), code.columns());
                for (column, &is_dark) in points.iter().enumerate() {
                    let inside = |place: &usize| (4..4 + expected.width()).contains(place);
                    let should_be = inside(&row)
                        && inside(&column)
                        && expected[(column - 4, row - 4)] == Color::Dark;
                    assert_eq!(is_dark, should_be, "{ink:?}: {column}, {row}");
                }
            }
        }
    }

    #[test]
    fn an_url_with_a_key_fits_on_any_terminal() {
        let longest = "https://[2001:db8:1234:5678:9abc:def0:1234:5678]:65535/?key=abcdefghijklmnopqrstuvwxyz";
        assert!(QrCode::of(longest).unwrap().columns() <= 80);
        assert!(QrCode::of(&"x".repeat(3000)).is_err());
    }
}
