//! YAML to the tree, from the events of `saphyr-parser`.
//!
//! The language of workflow files is YAML's plain part: one document, text keys, no tags, no merge
//! keys. Anchors and aliases are allowed; what they expand to is counted before it is copied.

use super::{ALIAS_FACTOR, DEPTH_MAX, Entry, LoadError, NODES_MAX, Node, Scalar, Value, check_keys};
use crate::{report::Code, source::Span};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};
use std::{borrow::Cow, collections::BTreeMap};

pub(super) fn load(text: &str) -> Result<Node<'_>, LoadError> {
    let mut builder = Builder::new(text);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| builder.syntax(&error))?;
        let span = builder.offsets.span(span);
        builder.event(event, span)?;
    }
    builder.root.ok_or_else(|| {
        LoadError::new(Code::Syntax, Span::default(), "the file is empty")
            .expected("a workflow with `name` and `tasks`")
    })
}

/// A list or map that is still being read.
enum Open<'s> {
    List(Vec<Node<'s>>),
    /// Entries so far, and the key that waits for its value.
    Map(Vec<Entry<'s>>, Option<(Cow<'s, str>, Span)>),
}

struct Frame<'s> {
    open: Open<'s>,
    span: Span,
    anchor: usize,
    /// Values inside, aliases counted as what they stand for.
    size: usize,
    /// Levels inside.
    height: usize,
}

/// What an anchor names.
struct Anchored<'s> {
    node: Node<'s>,
    size: usize,
    height: usize,
}

struct Builder<'s> {
    offsets: Offsets<'s>,
    stack: Vec<Frame<'s>>,
    anchors: BTreeMap<usize, Anchored<'s>>,
    root: Option<Node<'s>>,
    documents: usize,
    nodes: usize,
    /// Values that came out of aliases, and how many may.
    expanded: usize,
    expanded_max: usize,
}

impl<'s> Builder<'s> {
    fn new(text: &'s str) -> Self {
        Self {
            offsets: Offsets::new(text),
            stack: Vec::new(),
            anchors: BTreeMap::new(),
            root: None,
            documents: 0,
            nodes: 0,
            expanded: 0,
            expanded_max: text.len().saturating_mul(ALIAS_FACTOR),
        }
    }

    fn event(&mut self, event: Event<'s>, span: Span) -> Result<(), LoadError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(LoadError::new(Code::Unsupported, span, "a second document in one file")
                        .help("a file holds one workflow: remove the `---` or split the file"));
                }
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), span)?;
                self.scalar(text, style, anchor, span)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.is_some(), span)?;
                self.open(Open::List(Vec::new()), anchor, span)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.is_some(), span)?;
                self.open(Open::Map(Vec::new(), None), anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn scalar(&mut self, text: Cow<'s, str>, style: ScalarStyle, anchor: usize, span: Span) -> Result<(), LoadError> {
        let plain = style == ScalarStyle::Plain;
        if plain && self.expects_key() && text == "<<" {
            return Err(LoadError::new(Code::Unsupported, span, "merge keys (`<<`) are not supported")
                .help("YAML 1.2 has none; write the keys out, or generate the file"));
        }
        let scalar = if plain { Scalar::plain(text) } else { Scalar::text(text) };
        self.count(1, span)?;
        let node = Node { span, value: Value::Scalar(scalar) };
        if anchor > 0 {
            self.expand(node.text_len() / 16, span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size: 1, height: 0 });
        }
        self.add(node, 1, 0)
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { open: Open::Map(_, None), .. }))
    }

    fn open(&mut self, open: Open<'s>, anchor: usize, span: Span) -> Result<(), LoadError> {
        if self.stack.len() == DEPTH_MAX {
            return Err(LoadError::too_deep(span));
        }
        if self.expects_key() {
            return Err(LoadError::new(Code::Unsupported, span, "a map or list as a key")
                .expected("text")
                .help("a template that begins with `{{` needs quotes: `\"{{ … }}\"`"));
        }
        self.count(1, span)?;
        // Where a block begins is all that is worth marking of it.
        let span = Span { start: span.start, end: span.end.min(span.start + 1) };
        self.stack.push(Frame { open, span, anchor, size: 1, height: 1 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), LoadError> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.open {
            Open::List(items) => Value::List(items),
            Open::Map(entries, _) => {
                check_keys(&entries)?;
                Value::Map(entries)
            }
        };
        let node = Node { span: frame.span, value };
        if frame.anchor > 0 {
            self.expand(frame.size, frame.span)?;
            let anchored = Anchored { node: node.clone(), size: frame.size, height: frame.height };
            self.anchors.insert(frame.anchor, anchored);
        }
        self.add(node, frame.size, frame.height)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), LoadError> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(LoadError::new(Code::Unsupported, span, "the alias stands inside of what it names"));
        };
        let (size, height) = (anchored.size, anchored.height);
        if self.stack.len() + height > DEPTH_MAX {
            return Err(LoadError::too_deep(span));
        }
        let weight = size + anchored.node.text_len() / 16;
        self.expand(weight, span)?;
        self.count(size, span)?;
        let node = self.anchors[&anchor].node.clone();
        self.add(node, size, height)
    }

    /// Counts values that are copied for an anchor or alias.
    fn expand(&mut self, size: usize, span: Span) -> Result<(), LoadError> {
        self.expanded += size;
        if self.expanded <= self.expanded_max {
            return Ok(());
        }
        Err(LoadError::new(Code::TooLarge, span, "aliases make the file many times larger than it is")
            .expected(format!("at most {ALIAS_FACTOR} times")))
    }

    fn count(&mut self, size: usize, span: Span) -> Result<(), LoadError> {
        self.nodes += size;
        if self.nodes > NODES_MAX { Err(LoadError::too_many(span)) } else { Ok(()) }
    }

    /// Puts a finished value where it belongs.
    fn add(&mut self, node: Node<'s>, size: usize, height: usize) -> Result<(), LoadError> {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.size += size;
        frame.height = frame.height.max(height + 1);
        match &mut frame.open {
            Open::List(items) => items.push(node),
            Open::Map(entries, waiting) => match waiting.take() {
                Some((key, key_span)) => entries.push(Entry { key, key_span, node }),
                None => match node.value {
                    Value::Scalar(scalar) => *waiting = Some((scalar.text, node.span)),
                    _ => {
                        return Err(
                            LoadError::new(Code::Unsupported, node.span, "a map or list as a key").expected("text")
                        );
                    }
                },
            },
        }
        Ok(())
    }

    fn syntax(&mut self, error: &ScanError) -> LoadError {
        let marker = *error.marker();
        let start = self.offsets.byte(marker.index());
        let span = Span { start, end: start + 1 };
        if error.info().contains("recursion limit") {
            return LoadError::too_deep(span);
        }
        let message = format!("not valid YAML: {}", error.info());
        let indented_by_tab =
            self.offsets.text[..start as usize].rsplit('\n').next().is_some_and(|line| line.contains('\t'))
                || self.offsets.text[start as usize..].starts_with('\t');
        let error = LoadError::new(Code::Syntax, span, message);
        if indented_by_tab { error.help("YAML is indented by spaces, never by tabs") } else { error }
    }
}

fn refuse_tag(tagged: bool, span: Span) -> Result<(), LoadError> {
    if !tagged {
        return Ok(());
    }
    Err(LoadError::new(Code::Unsupported, span, "tags (`!…`) are not supported")
        .help("put text that begins with `!` in quotes"))
}

impl Node<'_> {
    /// Bytes of text inside.
    fn text_len(&self) -> usize {
        match &self.value {
            Value::Scalar(scalar) => scalar.text.len(),
            Value::List(items) => items.iter().map(Node::text_len).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.key.len() + entry.node.text_len()).sum(),
        }
    }
}

/// Turns the parser's count of characters into bytes. Events come nearly in order, so that a cursor
/// which moves both ways makes it linear.
struct Offsets<'s> {
    text: &'s str,
    is_ascii: bool,
    chars: usize,
    bytes: usize,
}

impl<'s> Offsets<'s> {
    fn new(text: &'s str) -> Self {
        Self { text, is_ascii: text.is_ascii(), chars: 0, bytes: 0 }
    }

    fn span(&mut self, span: saphyr_parser::Span) -> Span {
        let start = self.byte(span.start.index());
        Span { start, end: self.byte(span.end.index()).max(start) }
    }

    fn byte(&mut self, index: usize) -> u32 {
        if self.is_ascii {
            return index.min(self.text.len()) as u32;
        }
        if index >= self.chars {
            let ahead = self.text[self.bytes..].char_indices().nth(index - self.chars);
            self.bytes = ahead.map_or(self.text.len(), |(offset, _)| self.bytes + offset);
        } else {
            let back = self.text[..self.bytes].char_indices().rev().nth(self.chars - index - 1);
            self.bytes = back.map_or(0, |(offset, _)| offset);
        }
        self.chars = index;
        self.bytes as u32
    }
}
