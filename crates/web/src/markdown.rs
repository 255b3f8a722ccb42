//! Markdown as a part of a page.
//!
//! Who may write a file here is not thereby trusted by those who look at it: nothing becomes markup
//! but the elements that are written below, and no reference runs or fetches anything.

use std::collections::HashMap;

use maud::{Markup, PreEscaped, Render};
use pulldown_cmark::{Alignment, Event, HeadingLevel, LinkType, Options, Parser, Tag};

use crate::limits::{MARKDOWN_DEPTH_MAX, MARKDOWN_HTML_BYTES_MAX};

/// What stands before the names of headings, so that they are not those of something on the page.
const ANCHOR_PREFIX: &str = "readme-";

/// What a text became.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) html: Markup,
    /// False if it became too long and was cut.
    pub(crate) is_all: bool,
}

/// Renders CommonMark with tables, task lists and strikethrough.
///
/// HTML in it is shown as the text that it is; comments, which nobody is meant to see, are left out.
/// Headings are two levels lower than they say: above them are those of the page.
pub(crate) fn render(text: &str) -> Rendered {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut writer = Writer::default();
    let mut is_all = true;
    for event in Parser::new_ext(text, options) {
        is_all = writer.html.len() < MARKDOWN_HTML_BYTES_MAX;
        if !is_all {
            break;
        }
        writer.handle(event);
    }
    while !writer.open.is_empty() {
        writer.end();
    }
    Rendered {
        html: PreEscaped(writer.html),
        is_all,
    }
}

/// Whether a line opens more elements in one another than are shown, as no text for people does: the
/// parser looks at all of them again for every line that follows.
pub(crate) fn is_bomb(text: &str) -> bool {
    text.split(['\n', '\r']).any(|line| {
        let rest =
            line.trim_start_matches(|it: char| it.is_ascii_digit() || "> \t-+*.)".contains(it));
        let leading = &line.as_bytes()[..line.len() - rest.len()];
        let opens = |at: usize| match leading[at] {
            b'>' => true,
            b'-' | b'+' | b'*' | b'.' | b')' => matches!(leading.get(at + 1), Some(b' ' | b'\t')),
            _ => false,
        };
        (0..leading.len()).filter(|&at| opens(at)).count() > MARKDOWN_DEPTH_MAX
    })
}

/// Writes HTML whose elements are closed in the order in which they were opened.
#[derive(Debug, Default)]
struct Writer {
    html: String,
    /// What closes each element that is open; empty for one that is not written.
    open: Vec<&'static str>,
    heading: Option<Heading>,
    picture: Option<Picture>,
    /// How the columns of the table stand, and the next one.
    alignments: Vec<Alignment>,
    column: usize,
    in_table_head: bool,
    in_comment: bool,
    /// How often each name was given to a heading.
    anchors: HashMap<String, usize>,
}

/// A heading whose text is being read.
#[derive(Debug)]
struct Heading {
    depth: usize,
    /// Where in the HTML its attributes belong.
    place: usize,
    text: String,
}

/// A picture whose text is being read.
#[derive(Debug)]
struct Picture {
    depth: usize,
    source: Option<String>,
    text: String,
}

impl Writer {
    fn handle(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => {
                let closing = match self.open.len() < MARKDOWN_DEPTH_MAX {
                    true => self.start(tag),
                    false => "",
                };
                self.open.push(closing);
            }
            Event::End(_) => self.end(),
            Event::Text(text) => self.text(&text),
            // A block comes line by line.
            Event::Html(text) => self.foreign_markup(&text),
            Event::InlineHtml(text) => {
                self.foreign_markup(&text);
                self.in_comment = false;
            }
            Event::Code(text) => {
                self.markup("<code>");
                self.text(&text);
                self.markup("</code>");
            }
            Event::SoftBreak => self.text("\n"),
            Event::HardBreak => self.markup("<br>\n"),
            Event::Rule => self.markup("<hr>\n"),
            Event::TaskListMarker(true) => self.text("\u{2611} "),
            Event::TaskListMarker(false) => self.text("\u{2610} "),
            // Not asked for.
            Event::InlineMath(_) | Event::DisplayMath(_) | Event::FootnoteReference(_) => {}
        }
    }

    /// Opens an element, and gives what closes it.
    fn start(&mut self, tag: Tag<'_>) -> &'static str {
        let (opening, closing) = match tag {
            Tag::Paragraph => ("<p>", "</p>\n"),
            Tag::Heading { level, .. } => return self.start_heading(level),
            Tag::BlockQuote(_) => ("<blockquote>\n", "</blockquote>\n"),
            Tag::CodeBlock(_) => ("<pre><code>", "</code></pre>\n"),
            Tag::HtmlBlock => ("<p>", "</p>\n"),
            Tag::List(None) => ("<ul>\n", "</ul>\n"),
            Tag::List(Some(first)) => {
                self.markup("<ol");
                self.attribute("start", &first.to_string());
                (">\n", "</ol>\n")
            }
            Tag::Item => ("<li>", "</li>\n"),
            Tag::Emphasis => ("<em>", "</em>"),
            Tag::Strong => ("<strong>", "</strong>"),
            Tag::Strikethrough => ("<del>", "</del>"),
            Tag::Link {
                link_type,
                dest_url,
                ..
            } => match link_target(link_type, &dest_url) {
                Some(target) => {
                    self.markup("<a");
                    self.attribute("href", &target);
                    (">", "</a>")
                }
                None => return "",
            },
            Tag::Image { dest_url, .. } => {
                // One in the text of another is part of that text.
                self.picture.get_or_insert(Picture {
                    depth: self.open.len(),
                    source: picture_source(&dest_url),
                    text: String::new(),
                });
                return "";
            }
            Tag::Table(alignments) => {
                self.alignments = alignments;
                ("<div class=\"wide\"><table>\n", "</tbody></table></div>\n")
            }
            Tag::TableHead => {
                (self.in_table_head, self.column) = (true, 0);
                ("<thead><tr>", "</tr></thead>\n<tbody>\n")
            }
            Tag::TableRow => {
                (self.in_table_head, self.column) = (false, 0);
                ("<tr>", "</tr>\n")
            }
            Tag::TableCell => return self.start_cell(),
            // Not asked for.
            Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => return "",
        };
        self.markup(opening);
        closing
    }

    fn start_heading(&mut self, level: HeadingLevel) -> &'static str {
        let (opening, closing) = match level {
            HeadingLevel::H1 => ("<h3", "</h3>\n"),
            HeadingLevel::H2 => ("<h4", "</h4>\n"),
            HeadingLevel::H3 => ("<h5", "</h5>\n"),
            HeadingLevel::H4 | HeadingLevel::H5 | HeadingLevel::H6 => ("<h6", "</h6>\n"),
        };
        self.markup(opening);
        self.heading = Some(Heading {
            depth: self.open.len(),
            place: self.html.len(),
            text: String::new(),
        });
        self.markup(">");
        closing
    }

    fn start_cell(&mut self) -> &'static str {
        let (opening, closing) = match self.in_table_head {
            true => ("<th", "</th>"),
            false => ("<td", "</td>"),
        };
        self.markup(opening);
        match self.alignments.get(self.column) {
            Some(Alignment::Center) => self.attribute("class", "center"),
            Some(Alignment::Right) => self.attribute("class", "right"),
            Some(Alignment::Left | Alignment::None) | None => {}
        }
        self.column += 1;
        self.markup(">");
        closing
    }

    /// Closes the innermost element.
    fn end(&mut self) {
        let Some(closing) = self.open.pop() else {
            return;
        };
        self.in_comment = false;
        let depth = self.open.len();
        if let Some(picture) = self.picture.take_if(|picture| picture.depth == depth) {
            self.picture(&picture);
        }
        if let Some(heading) = self.heading.take_if(|heading| heading.depth == depth) {
            let attribute = format!(" id=\"{}\"", self.anchor(&heading.text));
            self.html.insert_str(heading.place, &attribute);
        }
        self.markup(closing);
    }

    fn picture(&mut self, picture: &Picture) {
        match &picture.source {
            Some(source) => {
                self.markup("<img loading=\"lazy\"");
                self.attribute("src", source);
                self.attribute("alt", &picture.text);
                self.markup(">");
            }
            None => self.text(&picture.text),
        }
    }

    /// The name by which a link in the same text finds a heading, formed as GitHub does: lists of
    /// contents are written for that. It has no character that means something in HTML.
    fn anchor(&mut self, heading: &str) -> String {
        let mut anchor = ANCHOR_PREFIX.to_owned();
        for character in heading.trim().chars() {
            match character {
                ' ' => anchor.push('-'),
                '-' | '_' => anchor.push(character),
                _ if character.is_alphanumeric() => anchor.extend(character.to_lowercase()),
                _ => {}
            }
        }
        let earlier = self.anchors.entry(anchor.clone()).or_default();
        *earlier += 1;
        match *earlier {
            1 => anchor,
            count => format!("{anchor}-{}", count - 1),
        }
    }

    /// Writes HTML that is not ours as text, without its comments.
    fn foreign_markup(&mut self, html: &str) {
        let mut rest = html;
        while !rest.is_empty() {
            let (mark, passed) = match self.in_comment {
                true => ("-->", 3),
                // What follows may be the end already: `<!-->` is a comment.
                false => ("<!--", 2),
            };
            let found = rest.find(mark);
            let (before, behind) = rest.split_at(found.unwrap_or(rest.len()));
            if !self.in_comment {
                self.text(before);
            }
            if found.is_some() {
                self.in_comment = !self.in_comment;
            }
            rest = behind.get(passed..).unwrap_or_default();
        }
    }

    /// Writes `text`, of which nothing can become markup.
    fn text(&mut self, text: &str) {
        if let Some(picture) = &mut self.picture {
            picture.text.push_str(text);
            return;
        }
        if let Some(heading) = &mut self.heading {
            heading.text.push_str(text);
        }
        text.render_to(&mut self.html);
    }

    /// Writes markup of our own, of which the text of a picture has none.
    fn markup(&mut self, markup: &'static str) {
        if self.picture.is_none() {
            self.html.push_str(markup);
        }
    }

    fn attribute(&mut self, name: &'static str, value: &str) {
        if self.picture.is_none() {
            self.html.push(' ');
            self.html.push_str(name);
            self.html.push_str("=\"");
            value.render_to(&mut self.html);
            self.html.push('"');
        }
    }
}

/// Where a link leads: to the web, to someone's mail, or to somewhere on this server. A link that
/// leads anywhere else is none.
fn link_target(kind: LinkType, target: &str) -> Option<String> {
    if kind == LinkType::Email {
        return Some(format!("mailto:{target}"));
    }
    let target = reference(target)?;
    match (scheme(&target), target.strip_prefix('#')) {
        (None, Some(anchor)) => Some(format!("#{ANCHOR_PREFIX}{anchor}")),
        (None, None) => Some(target),
        (Some(scheme), _) => ["http", "https", "mailto"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
            .then_some(target),
    }
}

/// Where a picture is: on this server, so that to look at a page tells nobody else of it.
fn picture_source(source: &str) -> Option<String> {
    let source = reference(source)?;
    // Browsers take a backslash for a slash, and two of them for the beginning of a host's name.
    let is_elsewhere = source
        .get(..2)
        .is_some_and(|start| start.chars().all(|it| matches!(it, '/' | '\\')));
    (scheme(&source).is_none() && !is_elsewhere).then_some(source)
}

/// `text` as a reference that means the same to a browser as it does here: browsers leave out
/// spaces at the ends, and controls anywhere.
fn reference(text: &str) -> Option<String> {
    let is_clean = !text.chars().any(char::is_control);
    is_clean.then(|| text.trim().replace(' ', "%20"))
}

/// The scheme of a reference; `None` if that is relative (RFC 3986 §4.1).
fn scheme(reference: &str) -> Option<&str> {
    let end = reference.find([':', '/', '?', '#'])?;
    reference[end..].starts_with(':').then(|| &reference[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            let html = render(text).html.into_string();
            assert_eq!(html.trim_end(), *expected, "{text}");
        }
    }

    #[test]
    fn what_a_readme_has() {
        check(&[
            (
                "# A *b* `c`",
                "<h3 id=\"readme-a-b-c\">A <em>b</em> <code>c</code></h3>",
            ),
            ("####### no", "<p>####### no</p>"),
            ("###### Six", "<h6 id=\"readme-six\">Six</h6>"),
            (
                "# A\n# A",
                "<h3 id=\"readme-a\">A</h3>\n<h3 id=\"readme-a-1\">A</h3>",
            ),
            (
                "# \u{4e2d}\u{6587}, x!",
                "<h3 id=\"readme-\u{4e2d}\u{6587}-x\">\u{4e2d}\u{6587}, x!</h3>",
            ),
            ("a\nb  \nc", "<p>a\nb<br>\nc</p>"),
            (
                "- a\n- [x] b",
                "<ul>\n<li>a</li>\n<li>\u{2611} b</li>\n</ul>",
            ),
            ("3. a", "<ol start=\"3\">\n<li>a</li>\n</ol>"),
            (
                "> ~~a~~",
                "<blockquote>\n<p><del>a</del></p>\n</blockquote>",
            ),
            ("```sh\na < b\n```", "<pre><code>a &lt; b\n</code></pre>"),
            ("***", "<hr>"),
            (
                "|a|b|\n|-|:-:|\n|1|**2**|",
                "<div class=\"wide\"><table>\n<thead><tr><th>a</th><th class=\"center\">b</th>\
                 </tr></thead>\n<tbody>\n<tr><td>1</td><td class=\"center\"><strong>2</strong></td>\
                 </tr>\n</tbody></table></div>",
            ),
        ]);
    }

    #[test]
    fn html_is_text() {
        check(&[
            (
                "<script>alert(1)</script>",
                "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>",
            ),
            (
                "a <img src=x onerror=alert(1)> b",
                "<p>a &lt;img src=x onerror=alert(1)&gt; b</p>",
            ),
            ("a <!-- b --> c", "<p>a  c</p>"),
            ("a <!-- b\n--> c", "<p>a  c</p>"),
            ("a <!--> c", "<p>a  c</p>"),
            ("<!--\nb\n**c**\n-->\n\nd", "<p>\n</p>\n<p>d</p>"),
            ("<!-- a --> b <!-- c --> d", "<p> b  d</p>"),
            ("- <!-- b\n\nc", "<ul>\n<li><p></p>\n</li>\n</ul>\n<p>c</p>"),
            ("```\"><script>\nx\n```", "<pre><code>x\n</code></pre>"),
            ("&lt;b&gt; &amp;quot;", "<p>&lt;b&gt; &amp;quot;</p>"),
            (
                "# \"><script>",
                "<h3 id=\"readme-script\">&quot;&gt;&lt;script&gt;</h3>",
            ),
        ]);
    }

    #[test]
    fn links_lead_to_the_web_or_to_here() {
        check(&[
            ("[a](b/c.md)", "<p><a href=\"b/c.md\">a</a></p>"),
            ("[a](<b c>)", "<p><a href=\"b%20c\">a</a></p>"),
            ("[a](#the-end)", "<p><a href=\"#readme-the-end\">a</a></p>"),
            (
                "[a](?sort=size&q=:)",
                "<p><a href=\"?sort=size&amp;q=:\">a</a></p>",
            ),
            (
                "[a](HTTPS://b.example)",
                "<p><a href=\"HTTPS://b.example\">a</a></p>",
            ),
            (
                "<me@b.example>",
                "<p><a href=\"mailto:me@b.example\">me@b.example</a></p>",
            ),
            (
                "[a](<\"onclick=x>)",
                "<p><a href=\"&quot;onclick=x\">a</a></p>",
            ),
            ("[a](javascript:alert(1))", "<p>a</p>"),
            ("[a](JavaScript:alert(1))", "<p>a</p>"),
            ("[a](< javascript:alert(1)>)", "<p>a</p>"),
            ("[a](java&#x73;cript&colon;alert(1))", "<p>a</p>"),
            ("[a](<java&#9;script:alert(1)>)", "<p>a</p>"),
            ("[a](&#1;javascript:alert(1))", "<p>a</p>"),
            ("<javascript:alert(1)>", "<p>javascript:alert(1)</p>"),
            ("[a][b]\n\n[b]: vbscript:x", "<p>a</p>"),
            ("[a](data:text/html,x)", "<p>a</p>"),
            ("[a](file:///etc/passwd)", "<p>a</p>"),
        ]);
    }

    #[test]
    fn pictures_are_here() {
        check(&[
            (
                "![a *b* <c>](d.png \"e\")",
                "<p><img loading=\"lazy\" src=\"d.png\" alt=\"a b &lt;c&gt;\"></p>",
            ),
            (
                "[![a](/b.svg)](https://c.example)",
                "<p><a href=\"https://c.example\"><img loading=\"lazy\" src=\"/b.svg\" alt=\"a\"></a></p>",
            ),
            (
                "![a ![b](c) [d](e)](f)",
                "<p><img loading=\"lazy\" src=\"f\" alt=\"a b d\"></p>",
            ),
            ("![a](https://b.example/c.png)", "<p>a</p>"),
            ("![a](//b.example/c.png)", "<p>a</p>"),
            ("![a](</\\b.example/c.png>)", "<p>a</p>"),
            ("![a](data:image/svg+xml,x)", "<p>a</p>"),
            ("![a](javascript:alert(1))", "<p>a</p>"),
        ]);
    }

    /// How many elements lie in one another; `None` if they are not closed in the order in which they
    /// were opened.
    fn depth(html: &str) -> Option<usize> {
        let (mut open, mut deepest) = (Vec::new(), 0);
        for part in html.split('<').skip(1) {
            let name = part.split([' ', '>', '\n']).next()?;
            match name.strip_prefix('/') {
                Some(name) if open.pop() != Some(name) => return None,
                Some(_) => {}
                None if matches!(name, "img" | "br" | "hr") => {}
                None => open.push(name),
            }
            deepest = deepest.max(open.len());
        }
        open.is_empty().then_some(deepest)
    }

    #[test]
    fn what_opens_far_too_much_is_no_text() {
        let lines = "> ".repeat(20_000) + &"- ".repeat(20_000) + &"a\n".repeat(40_000);
        for bomb in [
            &lines,
            &"1. ".repeat(40),
            &format!("a\n{}b", ">".repeat(40)),
            &format!("a\r{}b", "- ".repeat(40)),
        ] {
            assert!(is_bomb(bomb), "{}", &bomb[..40]);
        }
        let rule = "-".repeat(200);
        for text in [
            &rule,
            "a > b\n".repeat(100).as_str(),
            "- a\n  1. b\n     > c\n",
            "",
        ] {
            assert!(!is_bomb(text), "{text}");
        }
    }

    #[test]
    fn bombs_stay_small() {
        let many = |text: &str| text.repeat((256 << 10) / text.len());
        let half = |text: &str| text.repeat((128 << 10) / text.len());
        let columns = "|a".repeat(1000);
        let cases = [
            many(">"),
            many("> "),
            many("- "),
            many("1. "),
            half("> ") + &half("\na"),
            many("*a **a "),
            half("*a **a ") + &half("b* c** "),
            many("["),
            many("!["),
            many("[a]("),
            many("![a](b"),
            half("![") + &half("](b)"),
            many("`"),
            many("<!--"),
            many("<a "),
            many("<?"),
            many("&"),
            many("\""),
            many("|"),
            many("# a\n"),
            half("- ") + "a" + &half("\n"),
            half("- ") + "a" + &half("\na\n"),
            many("*_"),
            many("a**b"),
            many("[a][b]"),
            many("|a\n"),
            many("<a b=\"c\" "),
            many("\\"),
            many("<![CDATA["),
            (0..700).map(|count| "`".repeat(count) + " ").collect(),
            many("a\n=\n"),
            format!("{columns}\n{}\n{}", "|-".repeat(1000), many("|\n")),
            format!("[a]: /{}\n\n{}", half("b"), half("[a]")),
            (0..500)
                .map(|depth| format!("{}- a\n", "  ".repeat(depth)))
                .collect(),
        ];
        for text in cases {
            let Rendered { html, is_all } = render(&text);
            let (html, start) = (html.into_string(), &text[..text.len().min(20)]);
            // The last thing that is written may be as long as what it stands for.
            let most = MARKDOWN_HTML_BYTES_MAX + 6 * text.len();
            assert!(html.len() < most, "{start}: {}", html.len());
            assert!(is_all || html.len() >= MARKDOWN_HTML_BYTES_MAX, "{start}");
            // A table, and a block of code, are two elements.
            let depth = depth(&html).unwrap_or_else(|| panic!("{start}: not closed in order"));
            assert!(depth <= 2 * MARKDOWN_DEPTH_MAX, "{start}: {depth}");
        }
    }
}
