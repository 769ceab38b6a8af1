//! YAML to the tree, from the events of `saphyr-parser`.
//!
//! The language of workflow files is YAML's plain part: one document, text keys, no tags, no merge
//! keys. Anchors and aliases are allowed; what they expand to is counted before it is copied.

use super::{ALIAS_FACTOR, DEPTH_MAX, Entry, LoadError, NODES_MAX, Node, Scalar, Value, check_keys};
use crate::{
    report::Code,
    source::{SOURCE_MAX, Span},
};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};
use std::{borrow::Cow, cell::Cell, collections::BTreeMap, rc::Rc};

/// Most characters that the parser may read before it gives an event.
///
/// Where a list or map in brackets could be a key, it reads on to the closing bracket before it gives
/// anything of it, and none of our bounds would be asked. No text that a task may have is as long.
pub(super) const PIECE_MAX: usize = 2 * 1024 * 1024;

/// The tree of a text; none: nothing stands in it.
pub(super) fn load(text: &str) -> Result<Option<Node<'_>>, LoadError> {
    let mut builder = Builder::new(text);
    let left = Rc::new(Cell::new(PIECE_MAX));
    let of_piece = Rc::clone(&left);
    // The text seems to end where a piece becomes too long; what the parser makes of that is not said.
    let letters = text.chars().take_while(move |_| of_piece.replace(of_piece.get().saturating_sub(1)) > 0);
    let mut last = Span::default();
    for event in Parser::new_from_iter(letters) {
        if left.replace(PIECE_MAX) == 0 {
            return Err(too_long(last));
        }
        let (event, span) = event.map_err(|error| builder.syntax(&error))?;
        last = builder.offsets.span(span);
        builder.event(event, last)?;
    }
    Ok(builder.root)
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
    extent: Extent,
}

/// How large a value is, aliases counted as what they stand for.
#[derive(Clone, Copy)]
struct Extent {
    /// Values, itself included.
    values: usize,
    /// Bytes of text.
    text: usize,
    /// Levels inside.
    height: usize,
}

/// What an anchor names.
struct Anchored<'s> {
    node: Node<'s>,
    extent: Extent,
}

struct Builder<'s> {
    offsets: Offsets<'s>,
    stack: Vec<Frame<'s>>,
    anchors: BTreeMap<usize, Anchored<'s>>,
    root: Option<Node<'s>>,
    documents: usize,
    nodes: usize,
    /// Values and bytes of text that were copied for anchors and aliases, and how many may.
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
            expanded_max: text.len().saturating_mul(ALIAS_FACTOR).min(SOURCE_MAX),
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
        let extent = Extent { values: 1, text: scalar.text.len(), height: 0 };
        self.finish(Node { span, value: Value::Scalar(scalar) }, extent, anchor)
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
        self.stack.push(Frame { open, span, anchor, extent: Extent { values: 1, text: 0, height: 1 } });
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
        self.finish(Node { span: frame.span, value }, frame.extent, frame.anchor)
    }

    /// Puts a value where it belongs, and a copy of it aside if aliases may name it.
    fn finish(&mut self, node: Node<'s>, extent: Extent, anchor: usize) -> Result<(), LoadError> {
        if anchor > 0 {
            self.expand(extent, node.span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), extent });
        }
        self.add(node, extent)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), LoadError> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(LoadError::new(Code::Unsupported, span, "the alias stands inside of what it names"));
        };
        let extent = anchored.extent;
        if self.stack.len() + extent.height > DEPTH_MAX {
            return Err(LoadError::too_deep(span));
        }
        self.expand(extent, span)?;
        let node = self.anchors[&anchor].node.clone();
        self.add(node, extent)
    }

    /// Counts what is about to be copied for an anchor or alias.
    fn expand(&mut self, extent: Extent, span: Span) -> Result<(), LoadError> {
        self.count(extent.values, span)?;
        self.expanded += extent.values + extent.text;
        if self.expanded <= self.expanded_max {
            return Ok(());
        }
        Err(LoadError::new(Code::TooLarge, span, "aliases make the file many times larger than it is")
            .expected(format!("at most {ALIAS_FACTOR} times, and 64 MiB in all")))
    }

    fn count(&mut self, size: usize, span: Span) -> Result<(), LoadError> {
        self.nodes += size;
        if self.nodes > NODES_MAX { Err(LoadError::too_many(span)) } else { Ok(()) }
    }

    /// Puts a finished value where it belongs.
    fn add(&mut self, node: Node<'s>, extent: Extent) -> Result<(), LoadError> {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.extent.values += extent.values;
        frame.extent.text += extent.text;
        frame.extent.height = frame.extent.height.max(extent.height + 1);
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
        let line = self.offsets.text[..start as usize].rsplit('\n').next().map_or(0, str::len);
        let line = &self.offsets.text[start as usize - line..];
        let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
        let indented_by_tab = line[..blanks].contains('\t');
        let error = LoadError::new(Code::Syntax, span, message);
        if indented_by_tab { error.help("YAML is indented by spaces, never by tabs") } else { error }
    }
}

fn too_long(last: Span) -> LoadError {
    let message = format!("what follows here is more than {PIECE_MAX} characters in one piece");
    LoadError::new(Code::TooLarge, last, message)
        .expected("shorter texts, comments, and lists and maps in brackets")
        .help("put large data into a file that a task reads; write generated files as JSON")
}

fn refuse_tag(tagged: bool, span: Span) -> Result<(), LoadError> {
    if !tagged {
        return Ok(());
    }
    Err(LoadError::new(Code::Unsupported, span, "tags (`!…`) are not supported")
        .help("put text that begins with `!` in quotes"))
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
