//! YAML events → tree, with anchors, aliases and merge keys written out within bounds.

use super::{scalar, twice, Fault, Key, Node, Value};
use crate::base::limits::{DOC_DEPTH_MAX, DOC_NODES_MAX};
use crate::base::span::Span;
use crate::plan::report::Report;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) fn parse(file: &Arc<str>, text: &str, report: &mut Report) -> Result<Node, Fault> {
    let mut reader =
        Reader { file, events: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, merges: Vec::new() };
    let root = loop {
        let (event, at) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) => {}
            Event::StreamEnd => return Ok(Node::new(Value::Null, Span::new(file, 1, 1))),
            event => break reader.node(event, &at, 0)?,
        }
    };
    loop {
        let (event, at) = reader.next()?;
        match event {
            Event::DocumentStart(_) => {
                report.warning(&at, "", "only the first document of a file is read", "put the others in own files");
                return Ok(root);
            }
            Event::StreamEnd => return Ok(root),
            _ => {}
        }
    }
}

struct Reader<'a> {
    file: &'a Arc<str>,
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchor>,
    /// Nodes made so far, copies of anchors included.
    nodes: usize,
    /// Values of the `<<` keys of the maps being read, innermost last.
    merges: Vec<Vec<Node>>,
}

struct Anchor {
    node: Node,
    /// Nodes below and with it.
    size: usize,
    /// Levels below and with it.
    height: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, self.span(&span.start))),
            Some(Err(error)) => Err(Fault::new(self.span(error.marker()), format!("not YAML: {}", error.info()))),
            None => Ok((Event::StreamEnd, Span::new(self.file, 0, 0))),
        }
    }

    fn span(&self, mark: &Marker) -> Span {
        Span::new(self.file, mark.line() as u32, mark.col() as u32 + 1)
    }

    /// The node that begins with `event`. Recursion is bounded by [`DOC_DEPTH_MAX`].
    fn node(&mut self, event: Event<'a>, at: &Span, depth: usize) -> Result<Node, Fault> {
        self.count(1, at)?;
        if depth >= DOC_DEPTH_MAX {
            return Err(Fault::new(at.clone(), format!("nested deeper than {DOC_DEPTH_MAX} levels")));
        }
        let before = self.nodes;
        let (node, anchor) = match event {
            Event::Alias(id) => return self.alias(id, at, depth),
            Event::Scalar(text, style, anchor, tag) => {
                (Node::new(scalar_value(text, style, tag.as_deref()), at.clone()), anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(at, depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(at, depth)?, anchor),
            other => return Err(Fault::new(at.clone(), format!("not YAML: unexpected {other:?}"))),
        };
        if anchor > 0 {
            let size = self.nodes - before + 1;
            self.anchors.insert(anchor, Anchor { height: height(&node), node: node.clone(), size });
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, at: &Span, depth: usize) -> Result<Node, Fault> {
        let Some(anchor) = self.anchors.get(&id) else {
            return Err(Fault::new(at.clone(), "an alias within its own anchor"));
        };
        if depth + anchor.height > DOC_DEPTH_MAX {
            return Err(Fault::new(at.clone(), format!("nested deeper than {DOC_DEPTH_MAX} levels")));
        }
        let (size, copy) = (anchor.size, anchor.node.clone());
        // Counted before the next copy can be made: one copy is no larger than all that is there already.
        self.count(size, at)?;
        Ok(copy)
    }

    fn count(&mut self, nodes: usize, at: &Span) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > DOC_NODES_MAX {
            return Err(Fault::new(at.clone(), "too large: its aliases multiply"));
        }
        Ok(())
    }

    fn sequence(&mut self, at: &Span, depth: usize) -> Result<Node, Fault> {
        let mut nodes = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if event == Event::SequenceEnd {
                // Most lists and maps are short, and grew to four or eight at once; a large document has many of them.
                nodes.shrink_to_fit();
                return Ok(Node::new(Value::Seq(nodes), at.clone()));
            }
            nodes.push(self.node(event, &place, depth + 1)?);
        }
    }

    fn mapping(&mut self, at: &Span, depth: usize) -> Result<Node, Fault> {
        let mut entries = Vec::new();
        self.merges.push(Vec::new());
        loop {
            let (event, place) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let Some((key, merge)) = self.key(event, place.clone())? else {
                return Err(Fault::new(place, "a key must be text"));
            };
            let (event, place) = self.next()?;
            let value = self.node(event, &place, depth + 1)?;
            if merge {
                self.merges.last_mut().expect("pushed above").push(value);
            } else {
                entries.push((key, value));
            }
        }
        if let Some(fault) = twice(&entries) {
            return Err(fault);
        }
        for merge in self.merges.pop().unwrap_or_default() {
            merge_into(&mut entries, merge)?;
        }
        entries.shrink_to_fit();
        Ok(Node::new(Value::Map(entries), at.clone()))
    }

    /// Reads a key; says if it is the merge key.
    fn key(&mut self, event: Event<'a>, at: Span) -> Result<Option<(Key, bool)>, Fault> {
        self.count(1, &at)?;
        match event {
            Event::Scalar(text, style, ..) => {
                let merge = style == ScalarStyle::Plain && text == "<<";
                Ok(Some((Key { text: text.into_owned(), span: at }, merge)))
            }
            Event::Alias(id) => match self.anchors.get(&id).map(|anchor| &anchor.node.value) {
                Some(Value::Str(text)) => Ok(Some((Key { text: text.clone(), span: at }, false))),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

fn scalar_value(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    // `!!str 5` and `! 5` are text; a tag of another kind says what the plain reading says as well.
    let text_tag = tag.is_some_and(|tag| {
        (tag.is_yaml_core_schema() && tag.suffix == "str") || ["", "!"].contains(&tag.suffix.as_str())
    });
    if style != ScalarStyle::Plain || text_tag {
        return Value::Str(text.into_owned());
    }
    scalar::plain(&text)
}

fn height(node: &Node) -> usize {
    match &node.value {
        Value::Seq(nodes) => 1 + nodes.iter().map(height).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| height(node)).max().unwrap_or(0),
        _ => 1,
    }
}

/// Adds the entries of a merged map, or of a list of maps, whose keys are not there yet.
fn merge_into(entries: &mut Vec<(Key, Node)>, merge: Node) -> Result<(), Fault> {
    match merge.value {
        Value::Map(merged) => {
            // Compared one by one: maps that are merged are short, and their sum is bounded by DOC_NODES_MAX.
            for (key, node) in merged {
                if !entries.iter().any(|(held, _)| held.text == key.text) {
                    entries.push((key, node));
                }
            }
            Ok(())
        }
        Value::Seq(maps) => maps.into_iter().try_for_each(|map| match map.value {
            Value::Map(_) => merge_into(entries, map),
            _ => Err(Fault::new(map.span, "<< merges maps only")),
        }),
        _ => Err(Fault::new(merge.span, "<< merges maps only")),
    }
}
