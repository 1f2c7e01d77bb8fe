//! Plugin instances. Their `config` is checked here, against the row of the plugin.

use super::entities::protocols;
use super::{fill, Entity, Reader};
use crate::base::nearest::nearest;
use crate::config::check::{self, Cx};
use crate::config::doc::{Node, Value};
use crate::hook::{self, Descriptor};
use crate::plan::draft::PluginDraft;
use crate::plan::schema::Protocols;
use crate::plan::Ordering;
use serde_json::{Map, Value as Json};
use std::cell::Cell;
use std::sync::Arc;

pub(super) fn plugin(reader: &mut Reader<'_>, mut entity: Entity<'_>) {
    let Some(name) = entity.owned("name") else { return };
    let Some(descriptor) = reader.descriptors.iter().find(|descriptor| descriptor.name == name) else {
        if let Some(unbuilt) = hook::unbuilt(&name) {
            let span = entity.span("name").clone();
            return reader.report.fault(&span, entity.path("name"), unbuilt.fault(), "");
        }
        let message = format!("plugin '{name}' not enabled; add it to the 'plugins' configuration property");
        let names = || reader.descriptors.iter().map(|descriptor| descriptor.name);
        let there_are = names().collect::<Vec<_>>().join(", ");
        let hint = match nearest(&name, names()) {
            Some(near) => format!("did you mean \"{near}\"? there are: {there_are}"),
            None => format!("there are: {there_are}"),
        };
        let span = entity.span("name").clone();
        return reader.report.fault(&span, entity.path("name"), message, hint);
    };
    let Read { config, shown: unresolved, files } = config(reader, &entity, descriptor);
    for column in ["consumer", "consumer_group"] {
        if !descriptor.consumer_scope && entity.refers(column) {
            let span = entity.span(column).clone();
            let hint = format!("{name} runs before the consumer is known");
            reader.report.fault(&span, entity.path(column), "value must be null", hint);
        }
    }
    if entity.refers("consumer") && entity.refers("consumer_group") {
        let message = "'consumer' and 'consumer_group' are mutually exclusive";
        reader.report.fault(entity.span("consumer_group"), entity.path("consumer_group"), message, "");
    }
    let written = protocols(&entity.texts("protocols"));
    let Protocols { default, accepted } = descriptor.protocols;
    let known: Vec<_> = written.iter().filter(|protocol| accepted.contains(protocol)).copied().collect();
    if known.len() < written.len() {
        let words: Vec<&str> = accepted.iter().map(|protocol| protocol.word()).collect();
        let span = entity.span("protocols").clone();
        let message = format!("expected one of: {}", words.join(", "));
        reader.report.fault(&span, entity.path("protocols"), message, "");
    }
    let ordering = ordering(reader, &entity);
    let (route, service) = (entity.take("route"), entity.take("service"));
    let (consumer, group) = (entity.take("consumer"), entity.take("consumer_group"));
    let protocols = if written.is_empty() { default.to_vec() } else { known };
    if let Some(record) = &mut reader.shown {
        let words = protocols.iter().map(|protocol| Json::from(protocol.word())).collect();
        record.fields.insert("protocols".to_owned(), Json::Array(words));
        let mut shown = unresolved.unwrap_or_else(|| config.clone());
        fill::echo_aliases(descriptor.fields, &mut shown);
        record.fields.insert("config".to_owned(), shown);
    }
    reader.draft.plugins.push(PluginDraft {
        instance_name: entity.owned("instance_name"),
        protocols,
        enabled: entity.flag("enabled"),
        common: entity.common,
        name,
        route,
        service,
        consumer,
        group,
        config,
        files,
        ordering,
    });
}

/// The node at a path such as `redis.host` or `limits[0].second`.
fn placed<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    let mut steps = path.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|step| !step.is_empty());
    steps.try_fold(node, |node, step| match &node.value {
        Value::Seq(nodes) => nodes.get(step.parse::<usize>().ok()?),
        _ => node.get(step),
    })
}

/// What it runs before and after.
fn ordering(reader: &mut Reader<'_>, entity: &Entity<'_>) -> Option<Box<Ordering>> {
    let value = entity.values.get("ordering").filter(|value| !value.is_null())?;
    let names = |side: &str| -> Vec<String> {
        let list = value[side]["access"].as_array();
        list.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
    };
    let (before, after) = (names("before"), names("after"));
    let (at, path) = (entity.span("ordering").clone(), entity.path("ordering"));
    if entity.refers("consumer") || entity.refers("consumer_group") {
        reader.report.fault(&at, path, "value must be null", "who sends a request is known only while plugins run");
        return None;
    }
    for name in before.iter().chain(&after) {
        if reader.descriptors.iter().any(|descriptor| descriptor.name == *name) {
            continue;
        }
        let near = nearest(name, reader.descriptors.iter().map(|descriptor| descriptor.name));
        let hint = near.map_or(String::new(), |near| format!("did you mean \"{near}\"?"));
        reader.report.warning(&at, &*path, format!("there is no plugin '{name}'"), hint);
    }
    Some(Box::new(Ordering { before, after, at, path }))
}

/// A config as it was read.
#[derive(Default)]
struct Read {
    /// With defaults.
    config: Json,
    /// As it is shown, where it refers to vaults.
    shown: Option<Json>,
    /// What was made of files that it names, by field.
    files: Vec<(Box<str>, Arc<[u8]>)>,
}

/// Reads the config; its faults, those between fields too, are placed at the field they speak of.
fn config(reader: &mut Reader<'_>, entity: &Entity<'_>, descriptor: &Descriptor) -> Read {
    let path = entity.path("config");
    let node = entity.node.get("config").filter(|node| !node.is_null());
    let span = node.map_or(&entity.common.at, |node| &node.span);
    let entries = match node.map(|node| &node.value) {
        None => &[],
        Some(Value::Map(entries)) => entries.as_slice(),
        Some(_) => {
            reader.report.fault(span, path, "expected a record", "");
            return Read { config: Json::Object(Map::new()), ..Read::default() };
        }
    };
    let faults = reader.report.findings.len();
    let (vaults, referred) = (reader.vaults, Cell::new(false));
    let resolve = |text: &str| {
        referred.set(true);
        vaults.resolve(text)
    };
    let mut cx = Cx { read: reader.read, ..Cx::new(reader.report, &resolve) };
    let mut values = check::record(descriptor.fields, entries.iter(), span, &path, &mut cx);
    let field = |place: &str| place.strip_prefix(&*path).unwrap_or(place).trim_start_matches('.').into();
    let files = cx.files.into_iter().map(|(place, made)| (field(&place), made.into())).collect();
    let config = Json::Object(values.clone());
    let shown = referred.get().then(|| {
        let own: Vec<_> = entries.iter().collect();
        fill::restore(&mut values, super::as_written(descriptor.fields, &own, span));
        Json::Object(values)
    });
    // Between fields is asked only where each by itself is right: a default that stands for a fault proves nothing.
    if reader.report.findings[faults..].iter().all(|f| f.severity == crate::plan::report::Severity::Warning) {
        for (field, message) in (descriptor.check)(&config) {
            let place = node.and_then(|node| placed(node, &field)).map_or(span, |node| &node.span);
            let path = if field.is_empty() { path.clone() } else { check::join(&path, &field) };
            reader.report.fault(place, path, message, "");
        }
    }
    Read { config, shown, files }
}
