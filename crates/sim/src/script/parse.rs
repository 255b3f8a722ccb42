//! From a script's text to its steps.

use std::time::Duration;

use super::{Action, OptionPattern, Pattern, ReadResult, Script, Setting, Step, When};
use crate::wire::{Flags, TcpOption};

/// A line that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}: `{text}`")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// What is wrong with it.
    pub message: String,
}

impl Script {
    /// Reads a script; `include` gives the text of the script with a name, if there is one.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn parse(text: &str, include: &dyn Fn(&str) -> Option<String>) -> Result<Self, ParseError> {
        let mut script = Self {
            settings: Vec::new(),
            steps: Vec::new(),
        };
        for (index, raw) in text.lines().enumerate() {
            let code = raw.split("//").next().unwrap_or_default().trim();
            if code.is_empty() {
                continue;
            }
            let line = index + 1;
            script
                .parse_line(line, code, include)
                .map_err(|message| ParseError {
                    line,
                    text: code.to_owned(),
                    message,
                })?;
        }
        Ok(script)
    }

    fn parse_line(
        &mut self,
        line: usize,
        code: &str,
        include: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), String> {
        if let Some(setting) = code.strip_prefix("set ") {
            let (name, value) = setting
                .trim()
                .split_once(' ')
                .ok_or("`set` wants a name and a value")?;
            self.settings.push(Setting {
                line,
                name: name.to_owned(),
                value: value.trim().to_owned(),
            });
            return Ok(());
        }
        if let Some(name) = code.strip_prefix("include ") {
            let text = include(name.trim()).ok_or("there is no such script to include")?;
            let included =
                Self::parse(&text, &|_| None).map_err(|error| format!("in `{name}`: {error}"))?;
            // Settings of the including script stand above and are applied later.
            self.settings.splice(0..0, included.settings);
            let steps = included.steps.into_iter();
            self.steps
                .extend(steps.map(|step| Step { line: 0, ..step }));
            return Ok(());
        }
        let (when, action) = code
            .split_once(char::is_whitespace)
            .ok_or("a step has a time and an action")?;
        self.steps.push(Step {
            line,
            text: code.to_owned(),
            when: parse_when(when)?,
            action: parse_action(action.trim())?,
        });
        Ok(())
    }
}

fn parse_when(text: &str) -> Result<When, String> {
    if text == "*" {
        return Ok(When::Whenever);
    }
    if let Some((low, high)) = text.split_once('~') {
        let bound = |bound: &str| {
            let relative = bound.strip_prefix('+');
            seconds(relative.ok_or("a range of times is relative: `+1~+2`")?)
        };
        return Ok(When::Between(bound(low)?, bound(high)?));
    }
    match text.strip_prefix('+') {
        Some(span) => Ok(When::After(seconds(span)?)),
        None => Ok(When::At(seconds(text)?)),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is no number of seconds"))?;
    if !(0.0..1e9).contains(&seconds) {
        return Err(format!("`{text}` is no span of time"));
    }
    // To the microsecond: what is written in a script has no finer parts.
    Ok(Duration::from_micros((seconds * 1e6).round() as u64))
}

fn parse_action(text: &str) -> Result<Action, String> {
    if let Some(segment) = text.strip_prefix('<') {
        return parse_pattern(segment).map(Action::Inject);
    }
    if let Some(segment) = text.strip_prefix('>') {
        return parse_pattern(segment).map(Action::Expect);
    }
    if let Some(name) = text.strip_prefix("state ") {
        return Ok(Action::State(name.trim().to_owned()));
    }
    if let Some(name) = text.strip_prefix("event ") {
        return Ok(Action::Event(name.trim().to_owned()));
    }
    match text {
        "connect()" => return Ok(Action::Connect),
        "listen()" => return Ok(Action::Listen),
        "shutdown()" => return Ok(Action::Shutdown),
        "abort()" => return Ok(Action::Abort),
        "quiet" => return Ok(Action::Quiet),
        _ => {}
    }
    let (call, result) = match text.split_once('=') {
        Some((call, result)) => (call.trim(), Some(result.trim())),
        None => (text, None),
    };
    let argument = |name: &str| {
        let inner = call.strip_prefix(name)?.strip_prefix('(')?;
        inner.strip_suffix(')')
    };
    if let Some(bytes) = argument("write") {
        let bytes = number(bytes)?;
        let taken = result.map_or(Ok(bytes), number)?;
        return Ok(Action::Write(bytes, taken));
    }
    if let Some(bytes) = argument("read") {
        let result = match result.ok_or("`read` says what it gives: `read(10) = 10`")? {
            "end" => ReadResult::End,
            "blocked" => ReadResult::Blocked,
            "failed" => ReadResult::Failed,
            count => ReadResult::Bytes(number(count)?),
        };
        return Ok(Action::Read(number(bytes)?, result));
    }
    Err("an action that is not known".to_owned())
}

/// `FLAGS FIRST:BEHIND(LENGTH) [ack N] [win N] [urg N] [<OPTIONS>] [raw] [badsum]`.
fn parse_pattern(text: &str) -> Result<Pattern, String> {
    let (text, options) = split_options(text)?;
    let mut words = text.split_whitespace();
    let flags = parse_flags(words.next().ok_or("a segment begins with its flags")?)?;
    let (seq, length) = parse_range(words.next().ok_or("no sequence numbers")?)?;
    let mut pattern = Pattern {
        flags,
        seq,
        length,
        ack: None,
        window: None,
        urgent: None,
        options,
        is_raw: false,
        has_bad_checksum: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("`{word}` wants a number"));
        match word {
            "ack" => pattern.ack = Some(number(value()?)?),
            "win" => pattern.window = Some(number(value()?)?),
            "urg" => pattern.urgent = Some(number(value()?)?),
            "raw" => pattern.is_raw = true,
            "badsum" => pattern.has_bad_checksum = true,
            _ => return Err(format!("`{word}` is not part of a segment")),
        }
    }
    if pattern.ack.is_some() != flags.has(Flags::ACK) {
        return Err("`.` among the flags and `ack` go together".to_owned());
    }
    Ok(pattern)
}

/// The text without `<…>`, and what stands there; without it there are no options.
fn split_options(text: &str) -> Result<(String, Option<Vec<OptionPattern>>), String> {
    let Some((before, rest)) = text.split_once('<') else {
        return Ok((text.to_owned(), Some(Vec::new())));
    };
    let (inner, after) = rest.split_once('>').ok_or("`<` without `>`")?;
    let without = format!("{before} {after}");
    if inner.trim() == "..." {
        return Ok((without, None));
    }
    let options = inner
        .split(',')
        .map(str::trim)
        .filter(|option| !matches!(*option, "nop" | "eol" | ""))
        .map(parse_option);
    Ok((without, Some(options.collect::<Result<_, _>>()?)))
}

fn parse_option(text: &str) -> Result<OptionPattern, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["mss", mss] => OptionPattern::Plain(TcpOption::Mss(number(mss)?)),
        ["wscale", shift] => OptionPattern::Plain(TcpOption::WindowScale(number(shift)?)),
        ["sackOK"] => OptionPattern::Plain(TcpOption::SackPermitted),
        ["sack", blocks @ ..] => {
            let blocks = blocks.iter().map(|block| {
                let (first, behind) = block.split_once(':').ok_or("a block is `1:1001`")?;
                Ok::<_, String>((number(first)?, number(behind)?))
            });
            OptionPattern::Sack(blocks.collect::<Result<_, _>>()?)
        }
        ["TS", "val", value, "ecr", echo] => {
            OptionPattern::Timestamps(number_or_any(value)?, number_or_any(echo)?)
        }
        ["uto", value] => {
            // RFC 5482 §3: kind 28, granularity and value in one word.
            let value: u16 = number(value)?;
            OptionPattern::Plain(TcpOption::Other(28, value.to_be_bytes().to_vec()))
        }
        ["kind", kind, body] => {
            let body = (0..body.len() / 2)
                .map(|at| u8::from_str_radix(&body[2 * at..2 * at + 2], 16))
                .collect::<Result<_, _>>()
                .map_err(|_| format!("`{body}` is not hexadecimal"))?;
            OptionPattern::Plain(TcpOption::Other(number(kind)?, body))
        }
        ["kind", kind] => OptionPattern::Plain(TcpOption::Other(number(kind)?, Vec::new())),
        _ => return Err(format!("`{text}` is no option")),
    })
}

fn parse_flags(text: &str) -> Result<Flags, String> {
    if text == "-" {
        return Ok(Flags::default());
    }
    text.chars().try_fold(Flags::default(), |flags, letter| {
        let known = Flags::LETTERS.iter().find(|(name, _)| *name == letter);
        let (_, bit) = known.ok_or(format!("`{letter}` is no flag"))?;
        Ok(flags | Flags(*bit))
    })
}

/// `FIRST:BEHIND(LENGTH)`: both are told, so that a slip of the pen is noticed.
fn parse_range(text: &str) -> Result<(i64, usize), String> {
    let wrong = || format!("`{text}` is not of the form `1:1001(1000)`");
    let (first, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (behind, length) = rest.split_once('(').ok_or_else(wrong)?;
    let length: u32 = number(length.strip_suffix(')').ok_or_else(wrong)?)?;
    let (first, behind): (i64, i64) = (number(first)?, number(behind)?);
    if first + i64::from(length) != behind {
        return Err(format!("`{text}` does not add up"));
    }
    Ok((first, length as usize))
}

fn number_or_any(text: &str) -> Result<Option<i64>, String> {
    if text == "*" {
        return Ok(None);
    }
    number(text).map(Some)
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    let text = text.trim();
    text.parse()
        .map_err(|_| format!("`{text}` is no number that fits here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, ParseError> {
        Script::parse(text, &|name| {
            (name == "open.pkt").then(|| "set mss 1000\n0 connect()\n".to_owned())
        })
    }

    #[test]
    fn a_step_is_a_time_and_an_action() {
        let second = Duration::from_secs(1);
        for (line, when, action) in [
            ("0 connect()", When::At(Duration::ZERO), Action::Connect),
            ("+1 quiet // why", When::After(second), Action::Quiet),
            ("* shutdown()", When::Whenever, Action::Shutdown),
            (
                "+1.0~+2 abort()",
                When::Between(second, 2 * second),
                Action::Abort,
            ),
            (
                "+1 write(10) = 5",
                When::After(second),
                Action::Write(10, 5),
            ),
            (
                "+1 read(10) = end",
                When::After(second),
                Action::Read(10, ReadResult::End),
            ),
            (
                "+1 state FIN-WAIT-1",
                When::After(second),
                Action::State("FIN-WAIT-1".to_owned()),
            ),
        ] {
            let script = parse(line).expect(line);
            let step = &script.steps[0];
            assert_eq!((step.when, &step.action), (when, &action), "{line}");
        }
    }

    #[test]
    fn a_segment_has_flags_numbers_and_options() {
        let script = parse(
            "+.1 < P. -5:5(10) ack 1 win 99 <mss 1460,nop,wscale 7,TS val * ecr 3,sack 1:2 3:4>\n\
             +0 > R 0:0(0) <...>\n+0 < S 0:0(0) win 0 badsum\n+0 < SEW 0:0(0) <kind 254 01ff>\n",
        )
        .expect("a script");
        let Action::Inject(first) = &script.steps[0].action else {
            panic!("{:?}", script.steps[0]);
        };
        assert_eq!((first.seq, first.length, first.ack), (-5, 10, Some(1)));
        assert_eq!(first.flags.to_string(), "P.");
        let expected = [
            OptionPattern::Plain(TcpOption::Mss(1460)),
            OptionPattern::Plain(TcpOption::WindowScale(7)),
            OptionPattern::Timestamps(None, Some(3)),
            OptionPattern::Sack(vec![(1, 2), (3, 4)]),
        ];
        assert_eq!(first.options.as_deref(), Some(&expected[..]));
        let Action::Expect(second) = &script.steps[1].action else {
            panic!("{:?}", script.steps[1]);
        };
        assert_eq!((second.ack, &second.options), (None, &None));
        let Action::Inject(third) = &script.steps[2].action else {
            panic!("{:?}", script.steps[2]);
        };
        assert!(third.has_bad_checksum);
        assert_eq!(third.options, Some(Vec::new()));
        let Action::Inject(fourth) = &script.steps[3].action else {
            panic!("{:?}", script.steps[3]);
        };
        let unknown = OptionPattern::Plain(TcpOption::Other(254, vec![1, 255]));
        assert_eq!(fourth.options, Some(vec![unknown]));
    }

    #[test]
    fn an_included_script_comes_first() {
        let script = parse("set mss 536\ninclude open.pkt\n+0 quiet\n").expect("a script");
        assert_eq!(script.steps.len(), 2);
        let values: Vec<_> = script.settings.iter().map(|s| s.value.as_str()).collect();
        assert_eq!(values, ["1000", "536"]);
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_line() {
        for (text, line, message) in [
            ("\nconnect()", 2, "a time and an action"),
            ("0 connect", 1, "not known"),
            ("soon connect()", 1, "no number of seconds"),
            ("0 > . 1:3(1) ack 1", 1, "does not add up"),
            ("0 > . 1:1(0)", 1, "go together"),
            ("0 > S 0:0(0) ack 1", 1, "go together"),
            ("0 > X 0:0(0)", 1, "no flag"),
            ("0 > S 0:0(0) <mss>", 1, "no option"),
            ("0 > S 0:0(0) <mss 1", 1, "without"),
            ("0 read(1)", 1, "says what it gives"),
            ("include other.pkt", 1, "no such script"),
            ("set mss", 1, "a name and a value"),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.line, line, "{text}");
            assert!(error.message.contains(message), "{text}: {error}");
        }
    }
}
