//! YAML text as a tree of texts.
//!
//! Answers: what the first document of a text holds, with keys and scalars already turned into text. Refuses
//! to know: which keys matter. Laws: bounded in depth and in size whatever the text, so anchors can't blow it
//! up.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScanError, Span, StrInput};

use super::error::PlatformError;
use super::scalar;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    /// The shape, for people.
    pub(super) fn shape(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Null | Self::Text(_) => 1,
            Self::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Self::Map(entries) => 1 + entries.values().map(Self::size).sum::<usize>(),
        }
    }
}

/// Reads the first document; no document is a null.
pub(super) fn read(text: &str) -> Result<Node, PlatformError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), size: 0 };
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) => {}
            Event::StreamEnd | Event::DocumentEnd => return Ok(Node::Null),
            event => return reader.node(event, span, 0),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    size: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), PlatformError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, PlatformError> {
        if depth > DEPTH {
            return Err(refused(span, "nested too deeply"));
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text = scalar::text(&text, style, tag.as_deref()).map_err(|why| refused(span, why))?;
                (text.map_or(Node::Null, Node::Text), anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).cloned();
                (target.ok_or_else(|| refused(span, "an alias of something unfinished"))?, 0)
            }
            _ => return Err(refused(span, "the document ends where a value belongs")),
        };
        // Collections count their members again on every level; the depth bounds that factor.
        self.size += node.size();
        if self.size > SIZE {
            return Err(refused(span, "more values than settings need"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Node, PlatformError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Node::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Node, PlatformError> {
        let mut entries = BTreeMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Node::Map(entries));
            }
            let merges = scalar::is_merge(&event);
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            match key {
                Node::Text(_) if merges => merge(&mut entries, value, value_span)?,
                Node::Text(key) => {
                    entries.insert(key, value);
                }
                other => {
                    return Err(refused(span, &format!("{} as a key; a key is a text", other.shape())));
                }
            }
        }
    }
}

/// `<<: *base` puts the entries of another map in this place; of several maps the first wins.
fn merge(entries: &mut BTreeMap<String, Node>, value: Node, span: Span) -> Result<(), PlatformError> {
    match value {
        Node::Map(more) => entries.extend(more),
        Node::List(maps) => {
            for map in maps.into_iter().rev() {
                let Node::Map(more) = map else {
                    return Err(refused(span, "a merge of something else than maps"));
                };
                entries.extend(more);
            }
        }
        Node::Null | Node::Text(_) => return Err(refused(span, "a merge of something else than maps")),
    }
    Ok(())
}

fn scan_error(error: &ScanError) -> PlatformError {
    PlatformError::Yaml { line: error.marker().line(), detail: error.info().to_owned() }
}

fn refused(span: Span, detail: &str) -> PlatformError {
    PlatformError::Yaml { line: span.start.line(), detail: detail.to_owned() }
}

/// Settings are three levels deep; a text that goes far beyond is a mistake or an attack on the stack.
const DEPTH: usize = 32;
/// Settings have some fifty values and witnesses; nodes counted per level leave ample room above that.
const SIZE: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    fn map<const N: usize>(entries: [(&str, Node); N]) -> Node {
        Node::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    #[test]
    fn documents() {
        for (source, node) in [
            ("", Node::Null),
            ("# nothing\n", Node::Null),
            ("null", Node::Null),
            ("---\n...\n", Node::Null),
            ("a: 1\n---\na: 2\n", map([("a", text("1"))])),
            ("a: 1\n---\n: [broken\n", map([("a", text("1"))])),
            ("a: 1\na: 2\n", map([("a", text("2"))])),
            ("a: {b: 1}\na: {c: 2}\n", map([("a", map([("c", text("2"))]))])),
            ("010: x\nyes: z\n1e3: w\n", map([("8", text("x")), ("true", text("z")), ("1000", text("w"))])),
            ("a: &x [1, on]\nb: *x\n", {
                let list = Node::List(vec![text("1"), text("true")]);
                map([("a", list.clone()), ("b", list)])
            }),
            ("b: &x {c: 1, d: 2}\na: {<<: *x, d: 3}\n", {
                let base = map([("c", text("1")), ("d", text("2"))]);
                map([("b", base), ("a", map([("c", text("1")), ("d", text("3"))]))])
            }),
        ] {
            assert_eq!(read(source), Ok(node), "{source}");
        }
    }

    #[test]
    fn refusals() {
        for source in
            ["a: [1", "a: b: c", "a:\n\tb: 1", "? [a]\n: b", "null: x", "a: *x", "a: &x [*x]", "<<: 3"]
        {
            assert!(matches!(read(source), Err(PlatformError::Yaml { .. })), "{source}: {:?}", read(source));
        }
        let deep = "[".repeat(10_000);
        assert!(matches!(read(&deep), Err(PlatformError::Yaml { .. })));
    }

    #[test]
    fn anchors_do_not_multiply() {
        let mut source = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..20 {
            let alias = format!("*a{}, ", level - 1).repeat(10);
            writeln!(source, "a{level}: &a{level} [{}]", alias.trim_end_matches(", ")).expect("text grows");
        }
        assert!(matches!(read(&source), Err(PlatformError::Yaml { .. })));
    }
}
