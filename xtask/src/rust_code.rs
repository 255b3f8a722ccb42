//! Just enough of Rust's grammar to count lines and find words.

use std::ops::Range;

/// The code in `source`: comments and literals become spaces, all else keeps its place.
pub(crate) fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let (length, is_code) = next_token(rest);
        let (token, after) = rest.split_at(length);
        if is_code {
            code.push_str(token);
        } else {
            // Byte for byte, so that offsets in the code are offsets in the source.
            code.extend(
                token
                    .bytes()
                    .map(|byte| if byte == b'\n' { '\n' } else { ' ' }),
            );
        }
        rest = after;
    }
    code
}

/// The words (identifiers and keywords) of `code`, each with its offset.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    code.split(|c: char| !is_word(c)).filter_map(move |word| {
        let offset = at + code[at..].find(word)?;
        at = offset + word.len();
        (!word.is_empty()).then_some((offset, word))
    })
}

/// The line, from 1, on which the byte at `offset` stands.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text[..offset].matches('\n').count()
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    /// From its `fn` to its closing brace.
    pub(crate) span: Range<usize>,
}

/// The functions in `code` that have a body, those inside others too.
pub(crate) fn functions(code: &str) -> Vec<Function<'_>> {
    let words: Vec<_> = words(code).collect();
    let named = words.windows(2).filter(|pair| {
        let ((keyword_at, keyword), (name_at, _)) = (pair[0], pair[1]);
        // `fn(u8)` is a type; only white space stands between `fn` and a name.
        keyword == "fn" && code[keyword_at + 2..name_at].trim().is_empty()
    });
    named
        .filter_map(|pair| {
            let ((start, _), (name_at, name)) = (pair[0], pair[1]);
            let open = body_start(code, name_at + name.len())?;
            Some(Function {
                name,
                span: start..closing_brace(code, open),
            })
        })
        .collect()
}

/// The items under `#[cfg(test)]` that have braces, from the attribute to the last brace.
pub(crate) fn test_items(code: &str) -> Vec<Range<usize>> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut items: Vec<Range<usize>> = Vec::new();
    for (start, _) in code.match_indices(ATTRIBUTE) {
        let inside_last = items.last().is_some_and(|last| last.contains(&start));
        if let Some(open) = body_start(code, start + ATTRIBUTE.len())
            && !inside_last
        {
            items.push(start..closing_brace(code, open));
        }
    }
    items
}

/// Length of the token at the start of `rest`, and whether it is code.
fn next_token(rest: &str) -> (usize, bool) {
    let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
    if matches!(word, "r" | "br" | "cr")
        && let Some(length) = raw_string_length(&rest[word.len()..])
    {
        return (word.len() + length, false);
    }
    if !word.is_empty() {
        return (word.len(), true);
    }
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment_length(rest), false);
    }
    if rest.starts_with('"') {
        return (quoted_length(rest, '"'), false);
    }
    let mut chars = rest.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('\''), Some('\\'), _) | (Some('\''), Some(_), Some('\'')) => {
            (quoted_length(rest, '\''), false)
        }
        (first, _, _) => (first.map_or(0, char::len_utf8), true),
    }
}

/// Length of a literal in `quote`s in which a backslash escapes.
fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// Length of `#"…"#` with any number of `#`, if that is what stands here.
fn raw_string_length(rest: &str) -> Option<usize> {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let body = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(hashes + 1 + length)
}

/// Length of a block comment and of those nested in it.
fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Where the braces open of the item whose header is at `from`; `None` if it ends in `;`.
fn body_start(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The offset just behind the brace that closes the one at `open`.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_stays_and_in_its_place() {
        for (source, expected) in [
            ("a // b\nc", "a c"),
            ("a /* b /* c */ d */ e", "a e"),
            (r#"a "b \" c" d"#, "a d"),
            (r##"a r#"b "c" d"# e"##, "a e"),
            (r#"a br"\" b"#, "a b"),
            (r#"a b"\"" c"#, "a b c"),
            ("r#type r#fn", "r#type r#fn"),
            (r"a'a' '\'' '\u{7d}' '{' b", "a b"),
            ("f::<'a, 'static>('é')", "f::<'a, 'static>( )"),
            ("a \"open", "a"),
            ("a /* open", "a"),
        ] {
            let code = code_only(source);
            assert_eq!(code.len(), source.len(), "{source}");
            let squeezed: Vec<_> = code.split_whitespace().collect();
            assert_eq!(squeezed.join(" "), expected, "{source}");
            assert_eq!(
                line_of(&code, code.len()),
                line_of(source, source.len()),
                "{source}"
            );
        }
    }

    #[test]
    fn words_come_with_their_offsets() {
        let found: Vec<_> = words("fn is(a_1: a)").collect();
        assert_eq!(found, [(0, "fn"), (3, "is"), (6, "a_1"), (11, "a")]);
    }

    #[test]
    fn functions_end_at_their_own_brace() {
        for (code, expected) in [
            ("fn a() { if x { } } b", vec![("a", "fn a() { if x { } }")]),
            (
                "fn a() -> [u8; 3] { }",
                vec![("a", "fn a() -> [u8; 3] { }")],
            ),
            ("fn a(); fn b() { }", vec![("b", "fn b() { }")]),
            ("type A = fn(u8); struct B { a: fn(u8) }", vec![]),
            (
                "fn a() { fn b() { } }",
                vec![("a", "fn a() { fn b() { } }"), ("b", "fn b() { }")],
            ),
        ] {
            let found: Vec<_> = functions(code)
                .into_iter()
                .map(|f| (f.name, &code[f.span]))
                .collect();
            assert_eq!(found, expected, "{code}");
        }
    }

    #[test]
    fn test_items_are_whole_and_not_nested() {
        for (code, expected) in [
            (
                "a #[cfg(test)] mod b { { } } c",
                vec!["#[cfg(test)] mod b { { } }"],
            ),
            (
                "#[cfg(test)] #[allow(x)] mod a { }",
                vec!["#[cfg(test)] #[allow(x)] mod a { }"],
            ),
            ("#[cfg(test)] mod a; mod b { }", vec![]),
            (
                "#[cfg(test)] mod a { #[cfg(test)] mod b { } }",
                vec!["#[cfg(test)] mod a { #[cfg(test)] mod b { } }"],
            ),
        ] {
            let found: Vec<_> = test_items(code)
                .into_iter()
                .map(|span| &code[span])
                .collect();
            assert_eq!(found, expected, "{code}");
        }
    }
}
